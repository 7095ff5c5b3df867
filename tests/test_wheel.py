"""The wheel, built and installed on its own: what somebody gets who never saw the repository."""

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
Shell = Callable[..., str]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    answer = subprocess.run([*PIP, *build], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def shell(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Runs a program of a fresh environment that holds the wheel, in an empty folder without network for models.

    The dependencies are those of this environment, behind the wheel: gigabytes that need not be copied.
    """
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "venv", with_pip=False)
    programs = folder / "venv" / "bin"
    install = ["--python", str(programs / "python"), "install", "--no-deps", "--no-index", str(wheel)]
    answer = subprocess.run([*PIP, *install], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    site = next((folder / "venv").glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "here").mkdir()
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    environment = inherited | {"XDG_CACHE_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}

    def run(program: str, *arguments: str) -> str:
        answer = subprocess.run(
            [programs / program, *arguments],
            cwd=folder / "here",
            env=environment,
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    return run


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"dlp_dyn"}
    tracked = subprocess.run(
        ["git", "ls-files", "dlp_dyn", "configs"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for file in tracked.stdout.split():
        assert file.replace("configs/", "dlp_dyn/configs/") in names
    assert wheel.stat().st_size < 10e6


def test_what_is_imported_is_what_was_installed(shell: Shell) -> None:
    assert "fresh" in shell("python", "-c", "import dlp_dyn; print(dlp_dyn.__file__)")
    assert shell("dlp-dyn", "--version").startswith("dlp-dyn ")


def test_the_demo_runs(shell: Shell) -> None:
    shown = shell("dlp-dyn", "demo", "--out", "predicted.gif")
    assert "med_10" in shown
    assert (
        shell("python", "-c", "from pathlib import Path; print(Path('predicted.gif').stat().st_size)") > "1"
    )


def test_balls_train_without_any_data(shell: Shell) -> None:
    assert shell("dlp-dyn", "train", "balls", "steps=20", "device=cpu") == "run folder: runs/balls\n"
    shell("python", "-c", "from dlp_dyn.checkpoint import load_model; load_model('runs/balls')")
