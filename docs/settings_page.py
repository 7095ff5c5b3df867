"""The page of all settings, from the config dataclasses: `python docs/settings_page.py` writes docs/settings.md.

A field is documented by the string below it. `range: effect` for numbers and texts; of choices and switches the type
says the range, and the string is the effect.
"""

import ast
import inspect
import textwrap
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from agents.config import AgentConfig
from dlp_dyn.config import TrainConfig
from dlp_dyn.settings import section_of

PAGE = Path(__file__).with_name("settings.md")
HEAD = """# Settings

<!-- Written by docs/settings_page.py from the config dataclasses. -->

Every setting of training, with its default, range and effect. Give one on the command line as `section.key=value`
(`dlp-dyn train balls lr=5e-4 model.n_particles=8`), or in a YAML file of which `defaults: balls` is the first line and
the rest what differs. An unknown key or a wrong type is answered with the key that you meant.

Start from a [config that comes with dlp_dyn](own-videos.md#which-config), not from the defaults: these are the settings
of one family of models.
"""


def described(config: type) -> dict[str, str]:
    """The string below each field of a dataclass and of those it inherits from, as one line."""
    found = {}
    for base in config.__mro__[:0:-1]:
        if is_dataclass(base):
            assert isinstance(base, type)
            found |= described(base)
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


def choices(hint: Any) -> list[str]:
    """The values of a choice or a switch; none for types with too many to list."""
    if hint is bool:
        return ["true", "false"]
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    if NoneType in get_args(hint):
        inner = [choices(part) for part in get_args(hint) if part is not NoneType]
        return [*inner[0], "null"] if len(inner) == 1 and inner[0] else []
    return []


def rows(config: type) -> list[tuple[str, str, str, str]]:
    """Key, default, range and effect of every field that is not a section.

    Raises ValueError for a field that is not described.
    """
    texts, hints, found = described(config), get_type_hints(config), []
    for item in fields(config):
        if is_dataclass(hints[item.name]):
            continue
        text, values = texts.get(item.name, ""), choices(hints[item.name])
        span, colon, effect = (", ".join(values), ":", text) if values else text.partition(": ")
        if not colon or not effect:
            where = f"{config.__module__}.{config.__name__}.{item.name}"
            raise ValueError(f'{where}: write """range: effect""" below it (the effect alone for a choice)')
        found.append((item.name, _default(item), span, effect[0].upper() + effect[1:]))
    return found


def _default(item: Field[Any]) -> str:
    value = item.default_factory() if item.default_factory is not MISSING else item.default
    if value is MISSING:
        return "needed"
    text = yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True)
    return f"`{text.removesuffix(chr(10)).removesuffix(chr(10) + '...').strip()}`"


def section(config: type, name: str) -> list[str]:
    """Markdown of a section and of those inside it."""
    lines = [f"### `{name}`" if name else "### Top level", "", inspect.getdoc(config) or "", ""]
    lines += ["| key | default | range | effect |", "|---|---|---|---|"]
    lines += [f"| `{key}` | {default} | {span} | {effect} |" for key, default, span, effect in rows(config)]
    lines.append("")
    for key, hint in get_type_hints(config).items():
        if (inner := section_of(hint)) is not None:
            lines += section(inner, f"{name}.{key}" if name else key)
    return lines


def page() -> str:
    """The whole page."""
    lines = [HEAD, "## Models: `dlp-dyn train`", "", *section(TrainConfig, "")]
    lines += ["## Agents: `python -m agents.train`", "", *section(AgentConfig, "")]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
