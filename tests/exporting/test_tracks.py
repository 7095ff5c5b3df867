"""`dlp-dyn track` on frames of the bundled Balls."""

import json
from pathlib import Path

import numpy as np
import pytest

from dlp_dyn.bundled import BALLS
from dlp_dyn.cli import main
from dlp_dyn.data.excerpt import excerpt
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.viewer.run_data import CLIPS


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clips.h5"
    excerpt(BALLS / CLIPS, path, episodes=4, length=4)
    return path


def centres(rollouts: Rollouts, episode: int) -> np.ndarray:
    """Of the true balls in the first frame, in whole pixels, (x, y)."""
    return ((rollouts.states(4 * episode, 1)["position"][0] + 1) / 2 * 63).round().astype(int)


def test_tracks_are_the_balls(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "tracks.json"
    assert main(["track", str(BALLS), "--data", str(clips), "--episodes", "1", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    boxes = [a["bbox"] for a in found["annotations"] if a["image_id"] == 1]
    assert len(boxes) == 3
    middles = sorted((left + width / 2 - 0.5, top + height / 2 - 0.5) for left, top, width, height in boxes)
    np.testing.assert_allclose(middles, sorted(map(tuple, centres(Rollouts(clips), 0))), atol=2)
