"""The way from frames to actions, on a video model with random weights."""

from itertools import pairwise
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from video_runs import write_run

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.clip import to_images
from dlp_dyn.errors import InputError
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.controller import Controller
from dlp_dyn.planning.goals import goal_scene
from dlp_dyn.planning.planner import Planner
from dlp_dyn.planning.recording import record
from dlp_dyn.planning.shooting import Predictor
from dlp_dyn.planning.solvers import ICEM
from dlp_dyn.video import VideoModel

BOX = gym.spaces.Box(-1, 1, (2,), np.float32)
FRAMES = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> VideoModel:
    """With dynamics that actions have an effect in; untrained ones begin without."""
    run = write_run(tmp_path_factory.mktemp("plan") / "run", action_dim=4, stride=2)
    model = load_video_model(run)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.dynamics.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def controller(model: VideoModel, n_envs: int = 1, replan: int = 1) -> Controller:
    planner = Planner(
        Predictor(model.dynamics), ActionSpace.of(BOX, 2), ICEM(samples=20, elites=5, iterations=2), 3
    )
    return Controller(model, planner, n_envs, replan)


def test_every_frame_is_looked_at_and_one_a_block_is_remembered(model: VideoModel) -> None:
    """Slots are those of a clip that is followed frame by frame, as the dynamics were trained on."""
    control = controller(model)
    control.reset([goal_scene(model, FRAMES[-1])])
    for frame in FRAMES:
        control(frame[None])
    row = control.rows[0]
    assert row is not None
    with torch.no_grad():
        followed = model.encode(to_images(FRAMES)[None])[0].scene.particles.position[0]
    kept = torch.stack([scene.particles.position for scene in row.scenes])
    torch.testing.assert_close(kept, followed[::2][-len(kept) :])


@pytest.mark.parametrize("replan", [1, 2])
def test_an_episode(model: VideoModel, replan: int) -> None:
    control = controller(model, replan=replan)
    control.reset([goal_scene(model, FRAMES[-1])])
    actions = np.concatenate([control(frame[None]) for frame in FRAMES])
    assert actions.shape == (12, 2)
    assert np.abs(actions).max() <= 1
    moments = control.moments()
    assert len(moments) == 6 // replan
    assert control.why()
    for before, moment in pairwise(moments):
        assert [t.expected for t in moment.targets] == list(before.expected)
    assert [t.expected for t in moments[0].targets] == [None] * len(moments[0].targets)
    pictures = record(model, moments, replan, FRAMES[-1])
    assert len(pictures) == len(moments)
    assert pictures.std() > 0


def test_many_environments_are_as_if_each_were_alone(model: VideoModel) -> None:
    """Environment 1 begins again in the middle of a block of the others."""
    goals = [[goal_scene(model, FRAMES[-1 - i])] for i in range(3)]
    together = controller(model, n_envs=3)
    for row, goal in enumerate(goals):
        together.reset(goal, row, seed=row)
    found = []
    for t in range(5):
        if t == 3:
            together.reset(goals[1], 1, seed=9)
        found.append(together(FRAMES[t : t + 3]))
    for row in range(3):
        alone = controller(model)
        alone.reset(goals[row], seed=row)
        for t in range(5):
            if t == 3 and row == 1:
                alone.reset(goals[1], seed=9)
            action = alone(FRAMES[t + row : t + row + 1])
            np.testing.assert_allclose(found[t][row], action[0], atol=1e-4)


def test_seeds_and_only_seeds_change_a_plan(model: VideoModel) -> None:
    firsts = []
    for seed in (3, 3, 4):
        control = controller(model)
        control.reset([goal_scene(model, FRAMES[-1])], seed=seed)
        torch.manual_seed(len(firsts))
        firsts.append(control(FRAMES[:1]))
    assert np.array_equal(firsts[0], firsts[1])
    assert not np.array_equal(firsts[0], firsts[2])


def test_what_does_not_fit(model: VideoModel, tmp_path: Path) -> None:
    control = controller(model)
    control.reset([goal_scene(model, FRAMES[-1])])
    with pytest.raises(InputError, match=r"frames of shape \(1, 16, 16, 3\)"):
        control(FRAMES[:1, :16, :16])
    with pytest.raises(InputError, match="a picture of 16x32 pixels, the model sees 32x32"):
        goal_scene(model, FRAMES[0, :, :16])
    with pytest.raises(InputError, match="trained with 4 numbers between frames"):
        Controller(model, Planner(Predictor(model.dynamics), ActionSpace.of(BOX, 3)))
    with pytest.raises(InputError, match="replan 9: use 1 to the horizon"):
        controller(model, replan=9)
    blind = load_video_model(write_run(tmp_path / "run"))
    with pytest.raises(InputError, match="trained without actions"):
        Controller(blind, Planner(Predictor(blind.dynamics), ActionSpace.of(BOX)))
    with pytest.raises(InputError, match="a plan needs bounds"):
        ActionSpace.of(gym.spaces.Box(-np.inf, np.inf, (2,)))
    with pytest.raises(InputError, match="a plan needs bounds"):
        ActionSpace.of(gym.spaces.MultiBinary(2))
