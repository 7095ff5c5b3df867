"""`dlp-dyn augment` and `dlp-dyn track` on frames of the bundled Balls: what they leave alone, and what they say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dlp_dyn.bundled import BALLS
from dlp_dyn.cli import main
from dlp_dyn.data.excerpt import excerpt
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.exporting.augment import KINDS, turn_hue
from dlp_dyn.viewer.run_data import CLIPS


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clips.h5"
    excerpt(BALLS / CLIPS, path, episodes=4, length=4)
    return path


@pytest.fixture(scope="module")
def augmented(clips: Path) -> Path:
    out = clips.with_name("edited.h5")
    assert main(["augment", str(BALLS), "--data", str(clips), "--part", "test", "--out", str(out)]) == 0
    return out


def centres(rollouts: Rollouts, episode: int) -> np.ndarray:
    """Of the true balls in the first frame, in whole pixels, (x, y)."""
    return ((rollouts.states(4 * episode, 1)["position"][0] + 1) / 2 * 63).round().astype(int)


def test_each_kind_once_and_it_is_told(clips: Path, augmented: Path) -> None:
    lines = augmented.with_name(f"{augmented.name}.edits.jsonl").read_text().splitlines()
    edits = [json.loads(line) for line in lines]
    assert [edit["kind"] for edit in edits] == list(KINDS)
    assert [edit["source"] for edit in edits] == Rollouts(clips).part("test").tolist()
    assert 60 <= edits[2]["turn"] <= 300
    assert edits[3]["other"] != edits[3]["particle"]


def test_originals_come_first_and_are_as_they_were(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "both.h5"
    words = ["--data", str(clips), "--part", "test", "--edits", "hide", "--episodes", "1", "--out", str(out)]
    assert main(["augment", str(BALLS), *words, "--originals"]) == 0
    before, after = Rollouts(clips), Rollouts(out)
    assert (after.n_episodes, after.part("test").tolist()) == (5, [0, 1, 2, 3, 4])
    for i in range(4):
        np.testing.assert_array_equal(after.episode(i).frames, before.episode(i).frames)
    assert (after.episode(4).frames != before.episode(0).frames).any()


def test_pixels_that_the_edit_does_not_touch_stay(clips: Path, augmented: Path) -> None:
    before, after = Rollouts(clips), Rollouts(augmented)
    assert not after.has_states
    for i, kind in enumerate(KINDS):
        changed = np.abs(after.episode(i).frames.astype(int) - before.episode(i).frames).max(-1) > 12
        share = changed.mean()
        assert 0.005 < share < 0.25, f"{kind} changed {share:.3f} of the pixels"
        balls = centres(before, i)
        touched = [bool(changed[0, y, x]) for x, y in balls]
        assert sum(touched) <= (2 if kind == "swap" else 1), kind


def test_a_hidden_ball_is_gone(clips: Path, augmented: Path) -> None:
    before, after = Rollouts(clips), Rollouts(augmented)
    frames, hidden = before.episode(0).frames[0].astype(int), after.episode(0).frames[0].astype(int)
    background = np.median(frames.reshape(-1, 3), 0)
    there = [
        (np.abs(x[cy, cx] - background).max() > 40) for x in (frames, hidden) for cx, cy in centres(before, 0)
    ]
    assert there[:3] == [True] * 3
    assert sum(there[3:]) == 2


def test_hues_turn_around_grey() -> None:
    grey = torch.full((1, 3, 1, 1), 0.4)
    red = torch.tensor([0.6, 0.2, 0.2])[None, :, None, None]
    torch.testing.assert_close(turn_hue(grey, 77.0), grey)
    torch.testing.assert_close(turn_hue(red, 120.0), red.roll(1, 1))
    torch.testing.assert_close(turn_hue(turn_hue(red, 70.0), -70.0), red)


def test_tracks_are_the_balls(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "tracks.json"
    assert main(["track", str(BALLS), "--data", str(clips), "--episodes", "1", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    boxes = [a["bbox"] for a in found["annotations"] if a["image_id"] == 1]
    assert len(boxes) == 3
    middles = sorted((left + width / 2 - 0.5, top + height / 2 - 0.5) for left, top, width, height in boxes)
    np.testing.assert_allclose(middles, sorted(map(tuple, centres(Rollouts(clips), 0))), atol=2)


def test_bad_words_are_a_line(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["augment", str(BALLS), "--data", str(clips)]
    (tmp_path / "there.h5").touch()
    for more, message in (
        (["--out", str(clips)], "would be written over"),
        (["--out", str(tmp_path / "there.h5")], "exists already"),
        (
            ["--out", str(tmp_path / "x.h5"), "--edits", "paint"],
            "edit 'paint': use hide, copy, recolour, swap",
        ),
        (["--out", str(tmp_path / "x.h5")], "no episode in the train part"),
    ):
        assert main([*words, *more]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x.h5").exists()
