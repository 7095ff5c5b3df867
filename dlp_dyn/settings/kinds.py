"""What a setting may be: declared once in the type of its field, checked when settings are read, shown in help.

    n_particles: Count = 10
    clip_length: Annotated[int, at_least(1, "frames")] = 1

Numbers have a `Range`, lists a `Length`, texts may have a `Pattern`; choices are Literals, sections are dataclasses.
`Was` names what a field was called in earlier versions.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from dlp_dyn.errors import InputError

LONGEST_NAME = (
    200  # bytes between two slashes; file systems take 255, and temporary names are longer than their file's
)
LONGEST_TEXT = 2000
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Range:
    """Which numbers a setting takes; `unit` says what of. Excluded ends are not part of it."""

    least: float = -math.inf
    most: float = math.inf
    excluded: Literal["neither", "least", "most", "both"] = "neither"
    unit: str = ""

    def holds(self, value: float) -> bool:
        above = value > self.least or (value == self.least and self.excluded in ("neither", "most"))
        below = value < self.most or (value == self.most and self.excluded in ("neither", "least"))
        return above and below

    def __str__(self) -> str:
        low = f"above {self.least:g}" if self.excluded in ("least", "both") else f"{self.least:g}"
        high = f"below {self.most:g}" if self.excluded in ("most", "both") else f"{self.most:.10g}"
        if math.isinf(self.least) and math.isinf(self.most):
            text = "any"
        elif math.isinf(self.most):
            text = low if low.startswith("above") else f"{low} or more"
        else:
            both = self.excluded == "both"
            text = f"{low} {'and' if both else 'to'} {high}"
        return f"{text} {self.unit}".strip()


def at_least(least: float, unit: str = "") -> Range:
    return Range(least, unit=unit)


def above(least: float, unit: str = "") -> Range:
    return Range(least, excluded="least", unit=unit)


def between(
    least: float,
    most: float,
    excluded: Literal["neither", "least", "most", "both"] = "neither",
    unit: str = "",
) -> Range:
    return Range(least, most, excluded, unit)


@dataclass(frozen=True)
class Length:
    """How many elements a list has."""

    least: int
    most: int | None = None

    def __str__(self) -> str:
        return f"{self.least}" if self.most == self.least else f"{self.least} or more"

    def holds(self, n: int) -> bool:
        return n >= self.least and (self.most is None or n <= self.most)


@dataclass(frozen=True)
class Pattern:
    """What a text looks like: a regular expression, and the same in words."""

    expression: str
    meaning: str


@dataclass(frozen=True)
class Was:
    """What a field was called in earlier versions."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


Count = Annotated[int, at_least(1)]
Natural = Annotated[int, at_least(0)]
Seed = Annotated[int, between(0, 2**32 - 1)]
Positive = Annotated[float, above(0)]
NonNegative = Annotated[float, at_least(0)]
Fraction = Annotated[float, between(0, 1)]
Widths = Annotated[list[Count], Length(1)]


def unpacked(hint: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """The type of a field, what is declared about it, and whether it may be null."""
    declared: tuple[Any, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *more = get_args(hint)
        declared = tuple(more)
    if get_origin(hint) not in (Union, UnionType):
        return hint, declared, False
    (inner,) = (part for part in get_args(hint) if part is not NoneType)
    base, own, _ = unpacked(inner)
    return base, (*own, *declared), True


def declared(hint: Any, kind: type) -> Any:
    """The one thing of this kind that is declared about a field, or None."""
    return next((item for item in unpacked(hint)[1] if isinstance(item, kind)), None)


def section_of(hint: Any) -> type | None:
    """The dataclass of a field that is a section, or may be one; None for other fields."""
    base = unpacked(hint)[0]
    return cast(type, base) if is_dataclass(base) else None


def takes_text(hint: Any) -> bool:
    """Whether a value is the text that was typed, and no number or switch even where it looks like one."""
    base = unpacked(hint)[0]
    return base is str or (get_origin(base) is Literal and all(isinstance(v, str) for v in get_args(base)))


def wanted(hint: Any) -> str:
    """What a field takes, in words."""
    base, _, optional = unpacked(hint)
    return f"{_wanted(hint, base)}{', or null' if optional else ''}"


def _wanted(hint: Any, base: Any) -> str:
    origin = get_origin(base)
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(base)))}"
    if base is bool:
        return "true or false"
    if base in (int, float):
        kind = "a whole number" if base is int else "a number"
        limits = declared(hint, Range)
        return kind if limits is None or str(limits) == "any" else f"{kind}, {limits}"
    if base is str:
        pattern = declared(hint, Pattern)
        return pattern.meaning if pattern else "a text"
    if origin is tuple and get_args(base)[-1] is not Ellipsis:
        return f"a list of {len(get_args(base))}: {'; '.join(wanted(part) for part in get_args(base))}"
    if origin in (list, tuple):
        length = declared(hint, Length)
        return f"a list of{f' {length}' if length else ''}, each {wanted(get_args(base)[0])}"
    return "a section: key=value for each of its keys"


def checked(hint: Any, value: Any, text: Any, key: str, source: str) -> Any:
    """A value as its field wants it. text: the same as it was typed, for fields that are texts.

    Raises InputError, naming source, key, and what the field takes.
    """
    base, _, optional = unpacked(hint)
    if value is None:
        if optional or base is Any:
            return None
        raise _refused(hint, value, key, source)
    origin = get_origin(base)
    if base is Any:
        return value
    if origin is Literal:
        found = [choice for choice in get_args(base) if _typed(value, text) == str(choice)]
        if not found:
            raise _refused(hint, value, key, source)
        return found[0]
    if base is bool:
        if not isinstance(value, bool):
            raise _refused(hint, value, key, source)
        return value
    if base in (int, float):
        return _number(hint, base, value, key, source)
    if base is str:
        return _text(hint, value, text, key, source)
    if origin in (list, tuple):
        return _list(hint, base, value, text, key, source)
    if origin is dict:
        if not isinstance(value, dict):
            raise _refused(hint, value, key, source)
        each = get_args(base)[1]
        return {
            str(name): checked(each, item, _inside(text, str(name)), f"{key}.{name}", source)
            for name, item in value.items()
        }
    raise TypeError(f"{key}: no setting can be {hint}")


def _typed(value: Any, text: Any) -> str:
    return text if isinstance(text, str) and not isinstance(value, dict | list) else str(value)


def _inside(text: Any, name: str) -> Any:
    return text.get(name) if isinstance(text, dict) else None


def _number(hint: Any, base: type, value: Any, key: str, source: str) -> float:
    limits = declared(hint, Range) or Range()
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    if (
        not usable
        or not math.isfinite(value)
        or not limits.holds(value)
        or (base is int and value != int(value))
    ):
        raise _refused(hint, value, key, source)
    return base(value)


def _text(hint: Any, value: Any, text: Any, key: str, source: str) -> str:
    typed = _typed(value, text)
    pattern = declared(hint, Pattern)
    if (
        isinstance(value, dict | list)
        or not typed
        or (pattern and not re.fullmatch(pattern.expression, typed))
    ):
        raise _refused(hint, value, key, source)
    if not typed.isprintable():
        raise InputError(f"{source}: {key} has characters that cannot be printed; give a plain text")
    longest = max(len(name.encode()) for name in typed.split("/"))
    if longest > LONGEST_NAME or len(typed) > LONGEST_TEXT:
        raise InputError(
            f"{source}: {key} is a name of {longest} bytes, {typed[:20]}...; give one of {LONGEST_NAME} or fewer"
        )
    return typed


def _list(hint: Any, base: Any, value: Any, text: Any, key: str, source: str) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _refused(hint, value, key, source)
    kinds: Sequence[Any] = get_args(base)
    length = declared(hint, Length)
    if get_origin(base) is list or kinds[-1] is Ellipsis:
        kinds = [kinds[0]] * len(value)
    if len(kinds) != len(value) or (length and not length.holds(len(value))):
        raise _refused(hint, value, key, source)
    texts = text if isinstance(text, list) and len(text) == len(value) else [None] * len(value)
    found = [
        checked(kind, item, typed, f"{key}[{i}]", source)
        for i, (kind, item, typed) in enumerate(zip(kinds, value, texts, strict=True))
    ]
    return tuple(found) if get_origin(base) is tuple else found


def _refused(hint: Any, value: Any, key: str, source: str) -> InputError:
    shown = (
        {None: "null", True: "true", False: "false"}.get(value, repr(value)) if _scalar(value) else str(value)
    )
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return InputError(f"{source}: {key} is {shown}; give {wanted(hint)}".replace("\n", " "))


def _scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | str)
