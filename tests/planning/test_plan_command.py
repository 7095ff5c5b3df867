"""`dlp-dyn plan` of one episode, with the push model that comes along."""

from pathlib import Path

import imageio.v3 as iio
import pytest

import dlp_dyn
from dlp_dyn.cli import main

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
