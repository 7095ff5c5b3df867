"""The page of settings: no field without range and effect, no loss term left out, never stale."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "settings_page.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["settings_page"] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Undocumented:
    known: int = 1
    """1 or more: it is described."""
    unknown: int = 2
    switch: bool = True
    """What it does."""


def test_the_page_is_what_the_dataclasses_say(script: ModuleType) -> None:
    assert script.PAGE.read_text() == script.page(), "write it again: python docs/settings_page.py"


def test_a_field_without_description_is_refused(script: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"Undocumented\.unknown"):
        script.rows(Undocumented)


def test_ranges_come_from_choices_or_from_the_text(script: ModuleType) -> None:
    assert script.described(Undocumented) == {
        "known": "1 or more: it is described.",
        "switch": "What it does.",
    }
    assert script.choices(bool) == ["true", "false"]
    assert script.choices(int) == []
