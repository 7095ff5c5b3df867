"""What settings mean, for help and for the page of all settings.

A field is documented by the string below it. Its range comes from its type; of texts and lists the string says what
they hold, before a colon: `a folder: where the run is written`.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from dlp_dyn.settings.kinds import Range, declared, section_of, unpacked


@dataclass(frozen=True)
class Setting:
    """One setting: its whole key, its default as YAML ("" where it is needed), its range and its effect."""

    key: str
    default: str
    span: str
    effect: str


@dataclass(frozen=True)
class Section:
    """Settings under one name; "" for the top level."""

    name: str
    meaning: str
    settings: tuple[Setting, ...]


def sections(schema: type, name: str = "") -> Iterator[Section]:
    """A section and those inside it. Raises ValueError for a field that is not described."""
    yield Section(name, inspect.getdoc(schema) or "", tuple(_settings(schema, f"{name}." if name else "")))
    for key, hint in get_type_hints(schema).items():
        if (inner := section_of(hint)) is not None:
            yield from sections(inner, f"{name}.{key}" if name else key)


def shown(schema: type, said: dict[str, Any], name: str = "") -> Iterator[tuple[Setting, str]]:
    """Every setting with its value, as it is typed, where a config says so much; "" for one that is to be given.

    Settings of optional sections that are null are left out.
    """
    for setting in _settings(schema, f"{name}." if name else ""):
        value = said.get(setting.key.rpartition(".")[2])
        yield setting, setting.default if value is None or isinstance(value, dict) else as_yaml(value)
    for key, hint in get_type_hints(schema, include_extras=True).items():
        inner = section_of(hint)
        if inner is not None and (said.get(key) is not None or not unpacked(hint)[2]):
            yield from shown(inner, said.get(key) or {}, f"{name}.{key}" if name else key)


def as_yaml(value: Any) -> str:
    """A value as it is typed on the command line."""
    text = yaml.safe_dump(
        list(value) if isinstance(value, tuple) else value, default_flow_style=True, width=1000
    )
    return text.removesuffix("\n").removesuffix("\n...").strip()


def texts(config: type) -> dict[str, str]:
    """The string below each field of a dataclass and of those it inherits from, as one line."""
    found = {}
    for base in config.__mro__[:0:-1]:
        if is_dataclass(base):
            assert isinstance(base, type)
            found |= texts(base)
    body = ast.parse(textwrap.dedent(inspect.getsource(config))).body[0]
    assert isinstance(body, ast.ClassDef)
    for node, below in zip(body.body, body.body[1:], strict=False):
        text = below.value if isinstance(below, ast.Expr) else None
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(text, ast.Constant)
        ):
            found[node.target.id] = " ".join(str(text.value).split())
    return found


def span(hint: Any) -> str:
    """The range that a type says; "" for texts and lists."""
    base, _, optional = unpacked(hint)
    if base is bool:
        found = "true, false"
    elif get_origin(base) is Literal:
        found = ", ".join(map(str, get_args(base)))
    else:
        found = str(declared(hint, Range) or "")
    return f"{found}, or null" if found and optional else found


def _settings(schema: type, prefix: str) -> Iterator[Setting]:
    known, hints = texts(schema), get_type_hints(schema, include_extras=True)
    for item in fields(schema):
        hint = hints[item.name]
        if section_of(hint) is not None and not unpacked(hint)[2]:
            continue
        text, values = known.get(item.name, ""), span(hint)
        values, colon, effect = (values, ":", text) if values else text.partition(": ")
        if not colon or not effect:
            where = f"{schema.__module__}.{schema.__name__}.{item.name}"
            raise ValueError(
                f'{where}: write """effect""" below it, or """what: effect""" for a text or a list'
            )
        yield Setting(f"{prefix}{item.name}", _default(item), values, effect[0].upper() + effect[1:])


def _default(item: Field[Any]) -> str:
    value = item.default_factory() if item.default_factory is not MISSING else item.default
    return "" if value is MISSING else as_yaml(value)
