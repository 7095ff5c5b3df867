"""A reader of a test's own: a format is one file that gives episodes, and one line that opens it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlp_dyn.data.convert import convert
from dlp_dyn.data.readers import EpisodeStream, Reader
from dlp_dyn.data.rollouts import Rollouts


class Stripes:
    """Two episodes whose frames are bars, drawn when they are asked for."""

    layout = "two episodes of stripes"
    attributes: Mapping[str, Any] = {"env_id": "stripes"}

    def __init__(self) -> None:
        self.drawn = 0

    def __iter__(self) -> Iterator[EpisodeStream]:
        for n in (3, 5):
            yield EpisodeStream(lambda n=n: self._frames(n), steps={"actions": np.ones((n, 1), np.float32)})

    def _frames(self, n: int) -> Iterator[tuple[str, np.ndarray]]:
        for t in range(n):
            self.drawn += 1
            frame = np.zeros((16, 16, 3), np.uint8)
            frame[:, t] = 255
            yield f"stripe {t}", frame


def test_a_format_of_ones_own_becomes_a_rollout_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Stripes()
    assert isinstance(reader, Reader)
    episodes = iter(reader)
    next(episodes)
    assert reader.drawn == 0  # nothing is read before it is asked for
    monkeypatch.setattr("dlp_dyn.data.convert.open_source", lambda *_: reader)
    convert(tmp_path / "x.stripes", tmp_path / "x.h5")
    rollouts = Rollouts(tmp_path / "x.h5")
    assert rollouts.attributes["env_id"] == "stripes"
    assert rollouts.episode_lengths.tolist() == [3, 5]
    assert rollouts.episode(1).frames[4, 0, :, 0].argmax() == 4
