"""Links of the pages lead somewhere, and words are spelt as codespell knows them."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
WORDS = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs",
    "dlp_dyn",
    "agents",
    "envs",
    "benchmarks",
    "tests",
)


def anchors(page: Path) -> set[str]:
    """As the documentation's site makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def dead_links(page: Path) -> list[str]:
    """Relative links of a page without a file, or without a heading of that name in it."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        known = not anchor or (target.suffix == ".md" and target.is_file() and anchor in anchors(target))
        if not (target.exists() and known):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_dead_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "x.md"
    page.write_text(
        "# Two `words`\n[a](#two-words) [b](x.md#three) [c](y.md) [d](https://e.org)\n```\n[f](z)\n```\n"
    )
    assert dead_links(page) == ["x.md#three", "y.md"]


def test_words_are_spelt_right() -> None:
    if importlib.util.find_spec("codespell_lib") is None:
        pytest.skip("codespell is not installed")
    answer = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *WORDS], cwd=ROOT, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout
