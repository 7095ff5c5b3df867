"""docs/extending.md: each section has a toy in the tests, and the files that it names are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
SECTIONS = dict(re.findall(r"(?ms)^## (\w+)\n(.*?)(?=^## |\Z)", PAGE))
TOYS = {
    "Dynamics": "tests/test_dynamics_contract.py",
    "Objectives": "tests/training/test_step.py",
    "Readers": "tests/data/test_reader_contract.py",
    "Environments": "tests/data/counting_env.py",
}
MOST_FILES = 4  # the new file, its settings, the line that makes it, its test


@pytest.mark.parametrize("section", TOYS)
def test_each_part_is_a_few_files_and_has_a_toy(section: str) -> None:
    assert SECTIONS.keys() == TOYS.keys()
    assert TOYS[section] in SECTIONS[section]
    assert (ROOT / TOYS[section]).is_file()
    files = re.findall(r"(?m)^\| `([\w/.]+)` \|", SECTIONS[section])
    assert 1 <= len(files) <= MOST_FILES
    for file in files:
        assert "NAME" in file or (ROOT / file).is_file(), file


@pytest.mark.parametrize("toy", TOYS.values())
def test_no_file_of_the_packages_knows_a_toy(toy: str) -> None:
    names = re.findall(r"(?m)^class (\w+)", (ROOT / toy).read_text())
    text = "".join(
        p.read_text() for room in ("dlp_dyn", "agents", "envs") for p in (ROOT / room).rglob("*.py")
    )
    assert names
    assert not [name for name in names if re.search(rf"\bimport {name}\b", text)]
