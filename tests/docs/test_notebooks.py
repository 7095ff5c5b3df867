"""The notebooks run from top to bottom, at sizes of seconds: lines with `!` as commands, the rest as Python."""

import importlib.util
import json
import shlex
from pathlib import Path

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


def test_every_notebook_is_a_page_with_its_link_to_colab() -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    pages = (ROOT / "mkdocs.yml").read_text()
    for notebook in NOTEBOOKS:
        assert f"notebooks/{notebook.stem}.md" in pages
        page = hooks.page_of(notebook, "https://github.com/somebody/theirs")
        colab = "https://colab.research.google.com/github/somebody/theirs/blob/main/docs/notebooks"
        assert f"({colab}/{notebook.name})" in page
        assert page.count("```") == 2 * len(cells(notebook))
        assert "colab.research" not in hooks.page_of(notebook)


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
