"""Sources by name: what is made, what is refused, and that their truth lies where the pictures show it."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as imageio
import numpy as np
import pytest

from benchmarks import source_files
from benchmarks.probe import look
from benchmarks.source_files import Filmed, Played, named
from dlp_dyn.checkpoint import load_model
from dlp_dyn.data.balls import to_pixels, write_balls
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError


def test_a_file_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setitem(
        source_files.SOURCES, "balls", Played(lambda path: (made.append(path), path.touch())[0])
    )
    first, again = named("balls", tmp_path / "data"), named("balls", tmp_path / "data")
    assert first == again == tmp_path / "data" / "balls.h5"
    assert made == [first]


def test_films_are_cut_into_pieces(tmp_path: Path) -> None:
    frames = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.full((1, 32, 32, 3), 4, np.uint8)
    (tmp_path / "films" / "deep").mkdir(parents=True)
    imageio.imwrite(tmp_path / "films" / "deep" / "vtest.avi", frames, fps=10, codec="libx264")
    rollouts = Rollouts(named("vtest", tmp_path, tmp_path / "films"))
    assert rollouts.episode_lengths.tolist() == [53, 7]
    assert rollouts.image_size == (64, 64)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"nothing: no file, and no source; there are balls, shapes, push3"):
        named("nothing", tmp_path)
    with pytest.raises(InputError, match=r"fish: no test_A.avi in .*nowhere; unpack what .*--films"):
        named("fish", tmp_path, tmp_path / "nowhere")
    monkeypatch.setitem(
        source_files.SOURCES, "x", Played(lambda _: None, ("no_such_module", "pip install it"))
    )
    with pytest.raises(InputError, match="x: no_such_module is not installed; pip install it"):
        named("x", tmp_path)
    assert not list(tmp_path.rglob("*.h5"))


def test_every_source_says_what_it_needs() -> None:
    for source in source_files.SOURCES.values():
        assert source.how if isinstance(source, Filmed) else source.needs is None or all(source.needs)


WORLDS = {
    "Told-Boxing": "ale_py",
    "Told-PushT": "gym_pusht",
    "Told-MiniGrid": "minigrid",
    "Sprites": "spriteworld",
}


@pytest.mark.parametrize("name", WORLDS)
def test_where_truth_says_a_thing_is_the_picture_differs_from_the_ground(name: str) -> None:
    """At the middle of every thing, in most frames: there are things with a hole, and things below others."""
    if find_spec(WORLDS[name]) is None:
        pytest.skip(f"{WORLDS[name]} is not installed")
    env: Any = gym.make(f"benchmarks.source_worlds:{name}-v0")
    frames, places = [], []
    for seed in range(8):
        picture, info = env.reset(seed=seed)
        env.action_space.seed(seed)
        for _ in range(30):
            frames.append(picture)
            places.append(info["ground_truth"])
            picture, _, terminated, _, info = env.step(env.action_space.sample())
            if terminated:
                break
    ground = np.median(frames, 0)
    hits = []
    for frame, truth in zip(frames, places, strict=True):
        x, y = to_pixels(truth["position"][truth["visible"]], frame.shape[0]).T
        differs = np.abs(frame - ground).sum(-1) > 30
        hits.extend(differs[y.astype(int), x.astype(int)])
    assert np.mean(hits) > 0.85


def test_angles_are_told_and_a_file_without_them_is_refused(tmp_path: Path) -> None:
    write_balls(tmp_path / "balls.h5", (2, 1, 1), 4)
    with pytest.raises(InputError, match="no states/angle"):
        look(load_model("dlp_dyn/bundled/balls"), Rollouts(tmp_path / "balls.h5"), "train", 4, 0)
    if find_spec("gym_pusht") is None:
        pytest.skip("gym_pusht is not installed")
    _, info = gym.make("benchmarks.source_worlds:Told-PushT-v0").reset(seed=0)
    assert info["ground_truth"]["angle"].shape == (2,)
