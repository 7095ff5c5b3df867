"""Settings in files and on the command line: frozen dataclasses <- YAML <- `section.key=value`.

Of any schema; `dlp_dyn.config` has that of training. All raise InputError, naming the key and the remedy, for unknown
keys, wrong types, and missing values.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from dlp_dyn.errors import InputError

_PACKAGED = Path(__file__).parent / "configs"
# In a wheel the configs lie inside the package, in a clone beside it.
CONFIGS = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[1] / "configs"

T = TypeVar("T")


def load_as(schema: type[T], folder: Path, name_or_path: str | Path, overrides: Sequence[str] = ()) -> T:
    """A config by name (a file in `folder`) or path, with overrides on top; `out` is runs/NAME where none is given."""
    path = find(name_or_path, folder)
    layers = [(path.name, layer) for layer in _with_parents(path, folder)]
    if not any("out" in layer for _, layer in layers):
        layers.insert(0, (path.name, {"out": f"runs/{path.stem}"}))
    layers = [*layers, ("overrides", _parse(overrides))]
    if any(f.name == "auto" for f in fields(cast(Any, schema))):
        layers.append((path.name, {"auto": _still_auto([layer for _, layer in layers])}))
    return _build(schema, layers)


def _still_auto(layers: Sequence[dict[str, Any]]) -> list[str]:
    """Names under `auto` that no later layer gives a value."""
    auto: list[str] = []
    for layer in layers:
        given = set(_dotted(layer))
        auto = list(layer.get("auto", [name for name in auto if name not in given]))
    return auto


def _dotted(layer: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in layer.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def read_as(schema: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """A fully resolved config, as `to_yaml` makes it, with overrides on top."""
    return _build(schema, [(str(path), read_yaml(path)), ("overrides", _parse(overrides))])


def read_section(path: Path, section: str, schema: type[T]) -> T:
    """One section of a config file: enough to rebuild a model where nothing is known of its training."""
    raw = read_yaml(path)
    if not isinstance(raw.get(section), dict):
        raise InputError(f"{path}: no section '{section}'; this is not the config of a dlp_dyn run")
    return _build(schema, [(str(path), raw[section])], prefix=f"{section}.")


def has_section(path: Path, section: str) -> bool:
    """Whether a config file has a section of this name."""
    return isinstance(read_yaml(path).get(section), dict)


def to_yaml(cfg: object) -> str:
    """A config dataclass as YAML, every value spelled out; `read_as` gives back an equal one."""
    return OmegaConf.to_yaml(OmegaConf.structured(cfg))


def to_dict(cfg: object) -> dict[str, Any]:
    """A config dataclass as plain values."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(cfg)))


def names(folder: Path = CONFIGS) -> list[str]:
    """Names of the configs that come with the package."""
    return sorted(p.stem for p in folder.glob("*.yaml"))


def find(name_or_path: str | Path, folder: Path = CONFIGS) -> Path:
    """The file of a config named as in configs/, or of a path."""
    text, known = str(name_or_path), names(folder)
    if text in known:
        return folder / f"{text}.yaml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise InputError(f"{path}: no such config file; configs that come with dlp_dyn: {', '.join(known)}")
    hint = _closest(text, known)
    raise InputError(
        f"no config named '{text}'{hint}; there are {', '.join(known)}, or give a path to a .yaml"
    )


def _with_parents(path: Path, folder: Path, seen: tuple[Path, ...] = ()) -> list[dict[str, Any]]:
    """The layers of a config file, most general first: `defaults: name` stands for the config it builds on."""
    if path in seen:
        raise InputError(f"{path}: 'defaults' goes round in a circle")
    layer = read_yaml(path)
    parent = layer.pop("defaults", None)
    if parent is None:
        return [layer]
    beside = path.with_name(f"{parent}.yaml")
    parent_path = beside if beside.is_file() else find(str(parent), folder)
    return [*_with_parents(parent_path, folder, (*seen, path)), layer]


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of `key: value` lines as it is, without a schema."""
    try:
        raw = OmegaConf.to_container(OmegaConf.load(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such config file") from None
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not readable as YAML: {_first_line(error)}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: expected `key: value` lines, found a {type(raw).__name__}")
    return cast(dict[str, Any], raw)


def _parse(overrides: Sequence[str]) -> dict[str, Any]:
    for text in overrides:
        key, equals, _ = text.partition("=")
        if not equals or not all(key.split(".")):
            raise InputError(f"override '{text}': write it as key=value or section.key=value, without spaces")
    try:
        return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides))))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"overrides {' '.join(overrides)}: {_first_line(error)}") from None


def _build(schema: type[T], layers: Sequence[tuple[str, dict[str, Any]]], prefix: str = "") -> T:
    config: DictConfig = OmegaConf.structured(schema)
    for source, layer in layers:
        _refuse_unknown(schema, layer, source, prefix)
        try:
            config = cast(DictConfig, OmegaConf.merge(config, layer))
        except OmegaConfBaseException as error:
            where = f"{prefix}{error.full_key}: " if error.full_key else ""
            raise InputError(f"{source}: {where}{_first_line(error)}") from None
    try:
        return cast(T, OmegaConf.to_object(config))
    except MissingMandatoryValue as error:
        key = {"data": "data.path", "env": "env.id"}.get(error.full_key or "", error.full_key)
        raise InputError(
            f"config: {prefix}{key} is missing; add {prefix}{key}=VALUE to the command"
        ) from None
    except OmegaConfBaseException as error:
        raise InputError(f"config: {prefix}{error.full_key}: {_first_line(error)}") from None


def _refuse_unknown(schema: type, layer: dict[str, Any], source: str, prefix: str) -> None:
    """OmegaConf refuses unknown keys too; this names the whole key, and what is there instead."""
    known = [f.name for f in fields(schema)]
    hints = get_type_hints(schema)
    for key, value in layer.items():
        if key not in known:
            hint = _closest(str(key), known)
            raise InputError(f"{source}: unknown key '{prefix}{key}'{hint}; keys here: {', '.join(known)}")
        section = section_of(hints[key])
        if section is not None and isinstance(value, dict):
            _refuse_unknown(section, value, source, f"{prefix}{key}.")


def section_of(hint: Any) -> type | None:
    """The dataclass of a field that is a section, or may be one; None for other fields."""
    found = [part for part in (hint, *get_args(hint)) if is_dataclass(part)]
    return cast(type, found[0]) if found else None


def _closest(word: str, among: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, among, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def split_words(words: Sequence[str], resume: str | None) -> tuple[str, list[str]]:
    """CONFIG and overrides among the words of a command; "" for CONFIG where a run is gone on with.

    Raises InputError when CONFIG is missing, is one of several, or stands beside a run.
    """
    names = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word]
    if resume and names:
        raise InputError(f"--resume goes on with the config in {resume}; leave '{names[0]}' out")
    if not resume and len(names) != 1:
        raise InputError(
            f"train takes one CONFIG and key=value overrides; found {' '.join(names) or 'no CONFIG'}"
        )
    return names[0] if names else "", overrides
