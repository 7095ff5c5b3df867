"""From layers of settings to dataclasses: a config, those that it builds on, and overrides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlp_dyn.errors import InputError
from dlp_dyn.settings.described import texts
from dlp_dyn.settings.files import closest, find, first_line, read_twice
from dlp_dyn.settings.kinds import Was, checked, declared, section_of, takes_text, unpacked, wanted

T = TypeVar("T")


def load_as(schema: type[T], folder: Path, name_or_path: str | Path, overrides: Sequence[str] = ()) -> T:
    """A config by name (a file in `folder`) or path, with overrides on top; `out` is runs/NAME where none is given."""
    return _instance(schema, given(schema, folder, name_or_path, overrides), "")


def given(
    schema: type, folder: Path, name_or_path: str | Path, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """What a config, those that it builds on, and overrides say: section by section, without defaults."""
    path = find(name_or_path, folder)
    layers = _with_parents(schema, path, folder)
    if not any("out" in layer for layer in layers):
        layers.insert(0, {"out": f"runs/{path.stem}"})
    layers += [parsed(schema, text) for text in overrides]
    if any(f.name == "auto" for f in fields(cast(Any, schema))):
        layers.append({"auto": _still_auto(layers)})
    return _together(layers)


def read_as(schema: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """A fully resolved config, as `to_yaml` makes it, with overrides on top; names of earlier versions are taken."""
    values, written = read_twice(path)
    first = _layer(schema, values, written, str(path), "", earlier=True)
    return _instance(schema, _together([first, *(parsed(schema, text) for text in overrides)]), "")


def read_section(path: Path, section: str, schema: type[T]) -> T:
    """One section of a config file: enough to rebuild a model where nothing is known of its training."""
    values, written = read_twice(path)
    if not isinstance(values.get(section), dict):
        raise InputError(f"{path}: no section '{section}'; this is not the config of a dlp_dyn run")
    inside = written[section] if isinstance(written, dict) else None
    layer = _layer(schema, values[section], inside, str(path), f"{section}.", earlier=True)
    return _instance(schema, layer, f"{section}.")


def check(cfg: Any, section: str = "") -> None:
    """Raises InputError for a value of a dataclass that its field does not take: for those made without a file."""
    prefix = f"{section}." if section else ""
    _layer(type(cfg), asdict(cfg), None, "config", prefix, earlier=False)


def former_names(schema: type, values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings that go by a name of an earlier version -> what they are called now."""
    found = {}
    for name, hint in get_type_hints(schema, include_extras=True).items():
        was, section = declared(hint, Was), section_of(hint)
        for key in (name, *(was.names if was else ())):
            if key in values and key != name:
                found[f"{prefix}{key}"] = f"{prefix}{name}"
            if section is not None and isinstance(values.get(key), dict):
                found |= former_names(section, values[key], f"{prefix}{name}.")
    return found


def parsed(schema: type, override: str) -> dict[str, Any]:
    """The layer of one `section.key=value`."""
    key, equals, text = override.partition("=")
    path = key.split(".")
    if not equals or not all(path) or key != key.strip():
        raise InputError(f"override '{override}': write it as key=value or section.key=value, without spaces")
    value, raw = (
        _typed(override, text) if not _is_text(schema, path) else (None if text == "null" else text, text)
    )
    for name in reversed(path[1:]):
        value, raw = {name: value}, {name: raw}
    return _layer(schema, {path[0]: value}, {path[0]: raw}, "overrides", "", earlier=False)


def _typed(override: str, text: str) -> tuple[Any, Any]:
    """A value as YAML reads it, and the texts in it."""
    try:
        value = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.from_dotlist([f"x={text}"])))["x"]
        return value, yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, OmegaConfBaseException, RecursionError, ValueError) as error:
        raise InputError(f"override '{override}': not readable as YAML: {first_line(error)}") from None


def _is_text(schema: type, path: Sequence[str]) -> bool:
    """Whether the setting at a path is a text; no for paths that lead nowhere."""
    hint: Any = schema
    for name in path:
        base = unpacked(hint)[0]
        if get_origin(base) is dict:
            hint = get_args(base)[1]
        elif is_dataclass(base):
            hint = get_type_hints(base, include_extras=True).get(name)
        else:
            return False
    return hint is not None and takes_text(hint)


def _with_parents(
    schema: type, path: Path, folder: Path, seen: tuple[Path, ...] = ()
) -> list[dict[str, Any]]:
    """The layers of a config file, most general first: `defaults: name` stands for the config it builds on."""
    if path in seen:
        raise InputError(f"{path}: 'defaults' goes round in a circle")
    values, written = read_twice(path)
    parent = values.pop("defaults", None)
    layer = _layer(schema, values, written, path.name, "", earlier=False)
    if parent is None:
        return [layer]
    beside = path.with_name(f"{parent}.yaml")
    parent_path = beside if beside.is_file() else find(str(parent), folder)
    return [*_with_parents(schema, parent_path, folder, (*seen, path)), layer]


def _layer(
    schema: type, values: Mapping[Any, Any], written: Any, source: str, prefix: str, *, earlier: bool
) -> dict[str, Any]:
    """Some settings of a section, each as its field wants it. earlier: names of earlier versions are taken too."""
    hints = get_type_hints(schema, include_extras=True)
    names = [f.name for f in fields(schema)]
    required = {f.name for f in fields(schema) if not _has_default(f)}
    former = {old: name for name in names if (was := declared(hints[name], Was)) for old in was.names}
    found = {}
    for key, value in values.items():
        name = former.get(key, key) if earlier else key
        if key in former and not earlier:
            raise InputError(f"{source}: '{prefix}{key}' is called '{prefix}{former[key]}' now")
        if name not in names:
            raise InputError(
                f"{source}: unknown key '{prefix}{key}'{closest(str(key), names)}; keys here: {', '.join(names)}"
            )
        hint, text = hints[name], written.get(key) if isinstance(written, dict) else None
        section = section_of(hint)
        if value is None and name in required:
            found[name] = None  # to be given: whatever a config below it says
        elif section is None or (value is None and unpacked(hint)[2]):
            found[name] = checked(hint, value, text, f"{prefix}{name}", source)
        elif isinstance(value, dict):
            found[name] = _layer(section, value, text, source, f"{prefix}{name}.", earlier=earlier)
        else:
            raise InputError(f"{source}: {prefix}{name} is {str(value)[:60]!r}; give {wanted(hint)}")
    return found


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


def _together(layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    together: dict[str, Any] = {}
    for layer in layers:
        together = _merged(together, layer)
    return together


def _merged(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: _merged(below.get(key), value) for key, value in above.items()}


def _instance(schema: type[T], given: dict[str, Any], prefix: str) -> T:
    hints = get_type_hints(schema)
    values = {}
    for item in fields(cast(Any, schema)):
        section = section_of(hints[item.name])
        value = given.get(item.name, MISSING)
        if value is None and not _has_default(item):
            value = MISSING
        if section is not None and (isinstance(value, dict) or (value is MISSING and not _has_default(item))):
            inside = value if isinstance(value, dict) else {}
            values[item.name] = _instance(section, inside, f"{prefix}{item.name}.")
        elif value is not MISSING:
            whole = item.default_factory() if item.default_factory is not MISSING else None
            values[item.name] = (
                whole | value if isinstance(whole, dict) and isinstance(value, dict) else value
            )
        elif not _has_default(item):
            key, what = f"{prefix}{item.name}", texts(schema).get(item.name, "a value").partition(":")[0]
            raise InputError(f"config: {key} is missing; add {key}=VALUE to the command: {what}")
    return schema(**values)


def _has_default(item: Field[Any]) -> bool:
    return item.default is not MISSING or item.default_factory is not MISSING
