"""The notebooks run from top to bottom, at sizes of seconds: lines with `!` as commands, the rest as Python."""

import importlib.util
import json
import shlex
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import pytest
from test_commands import PREPARED, ROOT, run

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def cells(notebook: Path) -> list[str]:
    found = json.loads(notebook.read_text())["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


def test_notebooks_are_saved_without_what_they_printed() -> None:
    assert NOTEBOOKS
    for notebook in NOTEBOOKS:
        for cell in json.loads(notebook.read_text())["cells"]:
            assert not cell.get("outputs"), f"{notebook.name}: clear all outputs"


def hooks() -> ModuleType:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_every_notebook_is_a_page(notebook: Path) -> None:
    assert f"notebooks/{notebook.stem}.md" in (ROOT / "mkdocs.yml").read_text()
    page = hooks().page_of(notebook)
    assert page.count("```") == 2 * len(cells(notebook))
    assert "colab.research" not in page


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_with_an_address_a_notebook_links_to_colab_and_installs_from_there(
    notebook: Path, tmp_path: Path
) -> None:
    """As a page and as a file, in which the address may change again."""
    address = "https://github.com/somebody/theirs"
    colab = "https://colab.research.google.com/github/somebody/theirs/blob/main/docs/notebooks"
    there = tmp_path / notebook.name
    there.write_text(hooks().addressed(notebook, "https://github.com/other/one.git"))
    for text in (hooks().page_of(notebook, address + "/"), hooks().addressed(there, address)):
        assert f"[In Colab]({colab}/{notebook.name}), first" in text
        assert f"git+{address}`" in text or f"git clone {address} dlp_dyn`" in text
        assert "REPOSITORY" not in text
        assert "other/one" not in text
    assert len(json.loads(hooks().addressed(there, address))["cells"]) > 2


def trial(notebook: Path) -> object:
    trains = "dlp-dyn train" in notebook.read_text()
    marks = [pytest.mark.slow, pytest.mark.timeout(900)] if trains else []
    return pytest.param(notebook, marks=marks, id=notebook.stem)


@pytest.mark.parametrize("notebook", [trial(notebook) for notebook in NOTEBOOKS])
def test_a_notebook_runs(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    if "my_videos/" in notebook.read_text():
        PREPARED["my_videos"](tmp_path / "my_videos")
    variables: dict[str, object] = {}
    for cell in cells(notebook):
        if cell.startswith("!"):
            for line in cell.splitlines():
                run(shlex.split(line.removeprefix("!")))
        else:
            exec(compile(cell, notebook.name, "exec"), variables)
    assert capsys.readouterr().out
