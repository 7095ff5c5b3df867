"""`dlp-dyn plan` of one episode, with the push model that comes along."""

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pytest
from video_runs import write_image_run

import dlp_dyn
from dlp_dyn.cli import main


class Blank(gym.Env[np.ndarray, np.ndarray]):
    """Shows nothing and has no goal."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's own
    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, render_mode: str, paint: bool = True) -> None:
        self.render_mode, self.paint = render_mode, paint

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        return np.zeros(1, np.float32), {}

    def render(self) -> Any:
        if not self.paint:
            raise gym.error.DependencyNotInstalled("paint is not installed")
        return np.zeros((64, 64, 3), np.uint8)


gym.register("Blank-v0", entry_point=lambda **settings: Blank(**settings), disable_env_checker=True)
gym.register(
    "Unpainted-v0", entry_point=lambda **settings: Blank(paint=False, **settings), disable_env_checker=True
)
PUSH = Path(dlp_dyn.__file__).parent / "bundled" / "push"
FEW = ["--samples", "20", "--iterations", "1", "--horizon", "2", "--steps", "4"]


def plan(out: Path, *more: str) -> int:
    episode = ["plan", str(PUSH), "--env", "envs:Push-v0", "--set", "n_objects=2", "--out", str(out)]
    return main([*episode, *FEW, *more])


@pytest.mark.parametrize("visited", [False, True])
def test_an_episode_towards_the_goal_that_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], visited: bool
) -> None:
    rollouts = str(tmp_path / "push.h5")
    seen = ["--episodes", "5", "--max-steps", "8", "--set", "n_objects=2", "--out", rollouts]
    assert not visited or main(["collect", "envs:Push-v0", *seen]) == 0
    data = ["--data", rollouts] if visited else []
    assert plan(tmp_path / "plan.gif", *data) == 0
    told = capsys.readouterr().out.splitlines()
    assert (
        sum("of an image side from its goal" in line for line in told) == 2
    )  # the goal leaves the pusher free
    assert told[-2].startswith("4 steps")
    assert iio.imread(tmp_path / "plan.gif").shape[0] == 2  # a plan a block of two actions


def test_how_far_a_place_is_cannot_be_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plan.gif"
    assert plan(out, "--goal", "0:0.1,0.1", "--data", str(PUSH / "clips.h5")) == 2
    assert "give a picture as the goal" in capsys.readouterr().err
    assert not out.exists()


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line that a command is answered with."""
    assert main(["plan", *map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ["--out", tmp_path / "plan.gif", *FEW]
    here = [PUSH, "--env", "envs:Push-v0", *out]
    iio.imwrite(tmp_path / "empty.png", np.zeros((64, 64, 3), np.uint8))
    iio.imwrite(tmp_path / "large.png", np.zeros((96, 96, 3), np.uint8))
    bundled = PUSH.parent
    lines = {
        "no particle is on in the goal picture": [*here, "--goal", tmp_path / "empty.png"],
        "no particle 9 in the picture of now": [*here, "--goal", "9:0.3,0.1"],
        "trained without actions": [bundled / "balls", "--env", "envs:Push-v0", *out],
        "a picture of 96x96 pixels, the model sees 64x64": [*here, "--goal", tmp_path / "large.png"],
        "shows no goal": [PUSH, "--env", "Blank-v0", *out],
        "Unpainted-v0>>>: cannot draw its pictures (paint is not installed); install": [
            PUSH,
            "--env",
            "Unpainted-v0",
            *out,
        ],
        "NoSuch-v0": [PUSH, "--env", "NoSuch-v0", *out],
        "task 'nowhere': use one of": [PUSH, "--task", "nowhere"],
        "a model of single images": [write_image_run(tmp_path / "run"), "--env", "envs:Push-v0", *out],
        "3 candidates, 10 iterations: use 20 or more": [
            PUSH,
            "--env",
            "envs:Push-v0",
            *out[:2],
            "--samples",
            "3",
        ],
    }
    for line, words in lines.items():
        assert line in refused(capsys, *words)
    monkeypatch.setitem(sys.modules, "stable_worldmodel", None)  # as where it is not installed
    monkeypatch.setitem(sys.modules, "stable_worldmodel.envs.two_room.env", None)
    assert "pip install the extra swm" in refused(capsys, PUSH, "--env", "envs:TwoRoom-v0", *out)
    assert not (tmp_path / "plan.gif").exists()
