"""Evaluation with a model whose answers are known."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dlp_dyn import metrics
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Episode
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation import images as evaluate
from dlp_dyn.image.model import DLP
from dlp_dyn.training.loop import train

SIDE = 33  # a pixel is 1/16 in [-1, 1]


class Oracle(DLP):
    """Says what it was told: positions and transparencies frame by frame; draws every image 0.1 too bright."""

    def __init__(self, position: Tensor, transparency: Tensor) -> None:
        nn.Module.__init__(self)
        self.position, self.transparency, self.seen = position, transparency, 0
        self.weight = nn.Parameter(torch.zeros(1))

    def encode(self, images: Tensor) -> Any:
        rows = slice(self.seen, self.seen + len(images))
        self.seen += len(images)
        particles = SimpleNamespace(position=self.position[rows], transparency=self.transparency[rows])
        return SimpleNamespace(mean=SimpleNamespace(particles=particles, images=images))

    def decode(self, scene: Any) -> Any:
        return SimpleNamespace(image=scene.images + 0.1)


def judge(particles: list, on: list, objects: list, visible: list) -> evaluate.FrameScores:
    """All positions in pixels."""

    def unit(x: list) -> np.ndarray:
        return np.array(x, np.float32) / 16 - 1

    states = {"position": unit(objects), "visible": np.array(visible)}
    episode = Episode(np.zeros((len(objects), SIDE, SIDE, 3), np.uint8), states=states)
    transparency = torch.tensor(on)[..., None].float()
    oracle = Oracle(torch.from_numpy(unit(particles)), transparency)
    return evaluate.evaluate_episode(oracle, episode, {"psnr": metrics.psnr}, batch_size=2)


def test_figures_of_a_case_worked_out_by_hand() -> None:
    first = judge(
        particles=[[(1, 1), (9, 9), (20, 20)], [(1, 1), (9, 9), (20, 20)], [(9, 9), (1, 1), (30, 30)]],
        on=[[0.9, 0.9, 0.9], [0.9, 0.9, 0.1], [0.9, 0.9, 0.1]],
        objects=[[(1, 2), (9, 9)], [(1, 1), (9, 12)], [(1, 1), (9, 9)]],
        visible=[[True, True], [True, True], [True, False]],
    )
    second = judge([[(5, 5), (6, 6), (7, 7)]], [[0.2, 0.2, 0.2]], [[(5, 5), (8, 8)]], [[True, True]])
    report = evaluate.report([first, second])
    assert report.overall == pytest.approx(
        {
            "psnr": 20.0,
            "particles_on": (3 + 2 + 2 + 0) / 4,
            "frames": 4,
            "position_error_px": (1 + 0 + 0 + 3 + 0) / 5,
            "recall": 4 / 7,  # found: 2 + 1 + 1 + 0 of 2 + 2 + 1 + 2
            "precision": 4 / 7,  # of 3 + 2 + 2 + 0 that are on
            # object 0 is found throughout: slots 0, 0, 1; object 1 is never found twice in a row
            "flicker": 1 / 2,
        },
        rel=1e-4,
    )
    assert list(report.by_objects) == [1, 2]
    assert report.by_objects[1] == pytest.approx(
        {"psnr": 20.0, "particles_on": 2, "frames": 1, "position_error_px": 0, "recall": 1, "precision": 0.5},
        rel=1e-4,
    )
    assert report.by_objects[2]["recall"] == pytest.approx(3 / 6)


def test_nothing_on_leaves_out_what_cannot_be_told() -> None:
    figures = evaluate.summary([judge([[(5, 5)]], [[0.2]], [[(5, 5)]], [[True]])])
    assert figures["recall"] == 0
    assert not figures.keys() & {"precision", "position_error_px"}


def test_without_ground_truth_only_pictures_are_judged() -> None:
    oracle = Oracle(torch.zeros(3, 2, 2), torch.ones(3, 2, 1))
    episode = Episode(np.zeros((3, SIDE, SIDE, 3), np.uint8))
    report = evaluate.report([evaluate.evaluate_episode(oracle, episode, {"psnr": metrics.psnr})])
    assert report.overall == pytest.approx({"psnr": 20.0, "particles_on": 2.0, "frames": 3.0}, rel=1e-4)
    assert report.by_objects == {}


def test_spread_frames_are_even_and_of_the_part(balls_file: Path) -> None:
    rollouts = Rollouts(balls_file)
    frames = evaluate.spread_frames(rollouts, "validation", 4)
    whole = [rollouts.episode(int(i)) for i in rollouts.part("validation")]
    stacked = np.concatenate([e.frames for e in whole])
    np.testing.assert_array_equal(frames.frames, stacked[[0, 6, 11, 17]])
    assert frames.states is not None
    truth = np.concatenate([e.states["position"] for e in whole if e.states])
    np.testing.assert_array_equal(frames.states["position"], truth[[0, 6, 11, 17]])
    assert len(evaluate.spread_frames(rollouts, "validation", 1000)) == 18


def test_a_run_is_evaluated_on_a_part(tiny: Callable[..., TrainConfig], balls_file: Path) -> None:
    run = train(tiny(steps=2))
    done = []
    report = evaluate.evaluate(run, balls_file, max_episodes=2, progress=done.append)
    assert report.overall["frames"] == 12
    assert report.overall.keys() >= {"psnr", "ssim", "recall", "particles_on"}
    assert done == [1, 2]
    assert sum(row["frames"] for row in report.by_objects.values()) == 12


def test_frames_of_another_size_are_refused(tiny: Callable[..., TrainConfig]) -> None:
    with pytest.raises(InputError, match="frames of 32x32 pixels, the model sees 64x64"):
        train(tiny(model__image_size=64))
