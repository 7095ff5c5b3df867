"""Predicted pictures drawn by other image models."""

from pathlib import Path

import pytest

from benchmarks import sharpness
from dlp_dyn.bundled import BALLS, PUSH


@pytest.mark.parametrize("folder", [BALLS, PUSH])  # the latter's steps have actions, and are two frames apart
def test_a_video_model_beside_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sharpness.main(str(folder), str(folder / "clips.h5"), [str(folder)])
    rows = [line.split("|")[2:] for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows[0] == rows[1]
    _, _, energy, place, _ = (float(x) for x in rows[0][:-1])
    assert 0.7 < energy < 1.1
    assert place < 1.0
