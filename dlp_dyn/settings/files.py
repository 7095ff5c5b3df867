"""Config files: where those lie that come with the package, and what is in one."""

import difflib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlp_dyn.errors import InputError

_PACKAGED = Path(__file__).parents[1] / "configs"
# In a wheel the configs lie inside the package, in a clone beside it.
CONFIGS = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "configs"


def names(folder: Path = CONFIGS) -> list[str]:
    """Names of the configs that come with the package."""
    return sorted(p.stem for p in folder.glob("*.yaml"))


def summary(name: str, folder: Path = CONFIGS) -> str:
    """The first sentence of the comment at the head of a config that comes with the package."""
    head = itertools.takewhile(lambda line: line.startswith("#"), find(name, folder).read_text().splitlines())
    return " ".join(line.lstrip("# ") for line in head).partition(". ")[0].rstrip(".")


def find(name_or_path: str | Path, folder: Path = CONFIGS) -> Path:
    """The file of a config named as in configs/, or of a path."""
    text, known = str(name_or_path), names(folder)
    if text in known:
        return folder / f"{text}.yaml"
    path = Path(name_or_path)
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise InputError(f"config {text[:20]}...: {error.strerror}; give a name or a path") from None
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise InputError(f"{path}: no such config file; configs that come with dlp_dyn: {', '.join(known)}")
    hint = closest(text, known)
    raise InputError(
        f"no config named '{text}'{hint}; there are {', '.join(known)}, or give a path to a .yaml"
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of `key: value` lines as it is, without a schema."""
    return read_twice(path)[0]


def read_twice(path: Path) -> tuple[dict[str, Any], Any]:
    """A YAML file as values and as texts: `out: 007` is a number in the one and "007" in the other."""
    try:
        text = path.read_text()
        texts = yaml.load(text, Loader=yaml.BaseLoader) if text.strip() else {}
        is_mapping = isinstance(texts, dict)
        values = OmegaConf.to_container(OmegaConf.create(text)) if is_mapping and texts else {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such config file") from None
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError, RecursionError) as error:
        raise InputError(f"{path}: not readable as YAML: {first_line(error)}") from None
    if not is_mapping:
        raise InputError(f"{path}: expected `key: value` lines, found a {type(texts).__name__}")
    return cast(dict[str, Any], values), texts


def parse_json(text: str | bytes) -> Any:
    """What JSON says. Raises ValueError for anything else, and where it is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def to_yaml(cfg: object) -> str:
    """A config dataclass as YAML, every value spelled out; `read_as` gives back an equal one."""
    return OmegaConf.to_yaml(OmegaConf.structured(cfg))


def to_dict(cfg: object) -> dict[str, Any]:
    """A config dataclass as plain values."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(cfg)))


def has_section(path: Path, section: str) -> bool:
    """Whether a config file has a section of this name."""
    return isinstance(read_yaml(path).get(section), dict)


def closest(word: str, among: Sequence[str]) -> str:
    """A guess at what was meant, for the end of a message."""
    close = difflib.get_close_matches(word, among, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
