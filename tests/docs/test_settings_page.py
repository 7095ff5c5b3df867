"""The page of settings: no field without range and effect, no loss term left out, never stale."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest

from dlp_dyn.settings import Count, described

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
    known: Count = 1
    """It is described."""
    unknown: int = 2
    switch: bool = True
    """What it does."""


def test_the_page_is_what_the_dataclasses_say(script: ModuleType) -> None:
    assert script.PAGE.read_text() == script.page(), "write it again: python docs/settings_page.py"


def test_a_field_without_description_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Undocumented\.unknown"):
        list(described.sections(Undocumented))


def test_ranges_come_from_types_or_from_the_text() -> None:
    assert described.texts(Undocumented) == {"known": "It is described.", "switch": "What it does."}
    assert described.span(bool) == "true, false"
    assert described.span(Literal["a", "b"] | None) == "a, b, or null"
    assert described.span(Count) == "1 or more"
    assert described.span(str) == ""
