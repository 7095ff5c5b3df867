"""Every field of every config declares what it takes, and refuses everything else in one line that names it."""

import math
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import yaml

from agents.config import AgentConfig
from dlp_dyn import settings
from dlp_dyn.cli import main
from dlp_dyn.config import TrainConfig
from dlp_dyn.errors import InputError
from dlp_dyn.settings.kinds import LARGEST, checked, declared, takes_text, unpacked
from dlp_dyn.soft_intro.config import SoftIntroConfig

Field = tuple[type, str, Any]  # schema, dotted key, hint
SCHEMAS = [TrainConfig, AgentConfig]
if not any(is_dataclass(hint) and hint is SoftIntroConfig for hint in get_type_hints(TrainConfig).values()):
    SCHEMAS.append(SoftIntroConfig)


def leaves(schema: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of a schema and of the sections inside it."""
    for key, hint in get_type_hints(schema, include_extras=True).items():
        section = settings.section_of(hint)
        if section is None:
            yield f"{prefix}{key}", hint
        else:
            yield from leaves(section, f"{prefix}{key}.")


FIELDS: list[Field] = [(schema, key, hint) for schema in SCHEMAS for key, hint in leaves(schema)]
SECTIONS = [
    (schema, key)
    for schema in SCHEMAS
    for key in dict.fromkeys(k.rpartition(".")[0] for _, k, _ in FIELDS)
    if key
]


def wrong(hint: Any) -> Iterator[Any]:
    """Values that a field does not take, of every kind there is."""
    base, _, optional = unpacked(hint)
    if base is Any:
        return
    if not optional:
        yield None
    origin = get_origin(base)
    if origin is dict:
        yield from (3, "text", [1], True)
        yield from ({"key": value} for value in wrong(get_args(base)[1]))
        return
    yield {"key": 1}
    if origin in (list, tuple):
        yield from (3, "text", True, math.nan)
        yield from ([value] * n for value in wrong(get_args(base)[0]) for n in (1, 2))
        length = declared(hint, settings.Length)
        if length is not None and length.least:
            yield []
        return
    yield from ([], [1, 2])
    if takes_text(hint):
        yield from (
            ("x" * 300, "two\nlines", "\0", "\x1b[31m") if base is str else ("no such choice", "", 7, True)
        )
    else:
        yield from ("text", "", "1 2", math.nan, math.inf, -math.inf, 0.123 if base is not float else "0,5")
        if base is not bool:
            yield from (True, False, 10 * LARGEST, -10 * LARGEST)
        else:
            yield from (2, -1, "maybe")
    limits = declared(hint, settings.Range)
    if limits is not None and math.isfinite(limits.least):
        yield from (limits.least - 1, -1e9)
        if not limits.holds(limits.least):
            yield limits.least
    if limits is not None and math.isfinite(limits.most):
        yield from (limits.most + 1, 1e12)
        if not limits.holds(limits.most):
            yield limits.most


CASES = [(schema, key, value) for schema, key, hint in FIELDS for value in wrong(hint)]


def one_line(schema: type, key: str, value: Any, folder: Path) -> str:
    """What reading a file answers that gives one setting this value; "" where it takes it."""
    for name in reversed(key.split(".")):
        value = {name: value}
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(value))
    try:
        settings.load_as(schema, folder, file)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_wrong_value_of_every_setting_is_one_line_that_names_it(schema: type, tmp_path: Path) -> None:
    tries = [(key, value) for owner, key, value in CASES if owner is schema]
    taken = []
    for key, value in tries:
        message = one_line(schema, key, value, tmp_path)
        named = message.startswith(("config.yaml: ", f"config: {key} is missing"))
        if key not in message or "\n" in message or not named:
            taken.append((key, value, message))
    assert not taken
    assert len(tries) > 10 * sum(owner is schema for owner, _, _ in FIELDS)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_wrong_value_on_the_command_line_is_one_line_that_names_it(schema: type) -> None:
    taken = []
    for owner, key, value in CASES:
        if owner is not schema or isinstance(value, list | dict):
            continue
        try:
            settings.parsed(schema, f"{key}={'null' if value is None else value}")
        except InputError as error:
            if key in str(error) and "\n" not in str(error):
                continue
        taken.append((key, value))
    assert not [(key, value) for key, value in taken if not (value in ("", True, False, 7) or value is None)]


@pytest.mark.parametrize(("schema", "key"), SECTIONS)
@pytest.mark.parametrize("value", [3, "text", [1], True, math.nan])
def test_what_is_no_section_is_refused(schema: type, key: str, value: Any, tmp_path: Path) -> None:
    if key in {inner.rpartition(".")[0] for owner, inner, _ in FIELDS if owner is schema}:
        assert key.split(".")[0] in one_line(schema, key, value, tmp_path)


@pytest.mark.parametrize(("schema", "key", "hint"), FIELDS)
def test_every_number_declares_its_range(schema: type, key: str, hint: Any) -> None:
    def numbers(hint: Any) -> Iterator[Any]:
        base = unpacked(hint)[0]
        if base in (int, float):
            yield hint
        for inner in get_args(base) if get_origin(base) in (list, tuple, dict) else ():
            yield from numbers(inner)

    for number in numbers(hint):
        assert declared(number, settings.Range) is not None, f"{schema.__name__}: {key}"


def sections_of(schema: type) -> Iterator[type]:
    yield schema
    for hint in get_type_hints(schema).values():
        if (inner := settings.section_of(hint)) is not None:
            yield from sections_of(inner)


@pytest.mark.parametrize("section", dict.fromkeys(s for schema in SCHEMAS for s in sections_of(schema)))
def test_defaults_are_what_their_fields_take(section: type) -> None:
    hints = get_type_hints(section, include_extras=True)
    for item in fields(section):
        value = item.default_factory() if item.default_factory is not MISSING else item.default
        if value is MISSING or settings.section_of(hints[item.name]):
            continue
        assert checked(hints[item.name], value, None, item.name, "default") == value


@pytest.mark.parametrize(
    "typed", ["2024_11_26", "007", "1e5", "on", "12:30", "0x10", "5.10", "[x", "a: b", "${x}", "#1"]
)
def test_texts_are_what_was_typed(typed: str) -> None:
    assert settings.parsed(TrainConfig, f"out={typed}") == {"out": typed}
    assert settings.parsed(TrainConfig, f"data.path={typed}") == {"data": {"path": typed}}
    images = {"observation": {"images": {"observation": typed}}}
    assert settings.parsed(AgentConfig, f"observation.images.observation={typed}") == images


@pytest.mark.parametrize("typed", ["2024_11_26", "007", "1e5", "on", "12:30", "5.10"])
def test_texts_in_files_are_what_was_written(typed: str, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"out: {typed}\ndata: {{path: {typed}}}\nauto: [{typed}]\n")
    cfg = settings.load_as(TrainConfig, tmp_path, file)
    assert (cfg.out, cfg.data.path, cfg.auto) == (typed, typed, [typed])
    file.write_text(settings.to_yaml(cfg))
    assert settings.read_as(TrainConfig, file) == cfg


@pytest.mark.parametrize(("typed", "value"), [("7", 7), ("7.0", 7), ("1e3", 1000), ("1_000", 1000)])
def test_whole_numbers_may_be_written_as_one_likes(typed: str, value: int) -> None:
    assert settings.parsed(TrainConfig, f"steps={typed}") == {"steps": value}


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "words"),
    [
        (settings.at_least(1, "frames"), [1, 5], [0, -1], "1 or more frames"),
        (settings.above(0), [1e-9, 5], [0, -1], "above 0"),
        (settings.between(0, 1), [0, 0.5, 1], [-0.1, 1.1], "0 to 1"),
        (settings.between(0, 1, "most"), [0, 0.5], [1, 1.1], "0 to below 1"),
        (settings.between(0, 1, "least"), [0.5, 1], [0, 1.1], "above 0 to 1"),
        (settings.between(0, 1, "both"), [0.5], [0, 1], "above 0 and below 1"),
    ],
)
def test_ranges(limits: settings.Range, inside: list[float], outside: list[float], words: str) -> None:
    assert all(map(limits.holds, inside))
    assert not any(map(limits.holds, outside))
    assert str(limits) == words


def test_every_config_is_listed_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == settings.names()
    assert all(len(line.split()) > 3 for line in lines)


def test_every_value_of_a_config_is_shown_with_range_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "tiny", "data.path=x.h5", "model.n_particles=7", "--show"]) == 0
    shown = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert shown["model.n_particles"].startswith("7  # 1 or more: ")
    assert shown["data.path"].startswith("x.h5  # a file")
    cfg = settings.load_as(TrainConfig, settings.CONFIGS, "tiny", ["data.path=x.h5", "model.n_particles=7"])
    overrides = [f"{key}={text.partition('  # ')[0]}" for key, text in shown.items()]
    assert settings.load_as(TrainConfig, settings.CONFIGS, "tiny", overrides) == cfg


def test_what_is_to_be_given_is_shown_as_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "image", "--show"]) == 0
    out = capsys.readouterr().out
    assert "data.path=NEEDED  # " in out
    assert "keypoint_vae=null" in out
    assert "keypoint_vae.decoder" not in out
