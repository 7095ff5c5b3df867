"""Masks against instance masks: known answers, an independent re-derivation, and every source that has masks."""

from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
import torch

from dlp_dyn import metrics
from dlp_dyn.bundled import BALLS
from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.shapes import draw_shapes
from dlp_dyn.evaluation import images, masks
from dlp_dyn.video import VideoModel
from envs.push import PushEnv


def ari_of_pairs(predicted: np.ndarray, truth: np.ndarray) -> float:
    """By its definition: over every pair of foreground pixels."""
    pixels = [(p, t) for p, t in zip(predicted.ravel(), truth.ravel(), strict=True) if t > 0]
    pairs = [(a[0] == b[0], a[1] == b[1]) for a, b in combinations(pixels, 2)]
    both, mine, theirs = (sum(f) for f in zip(*((p and t, p, t) for p, t in pairs), strict=True))
    expected = mine * theirs / len(pairs)
    return (both - expected) / ((mine + theirs) / 2 - expected)


def iou_of_sets(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    objects = [truth == o for o in np.unique(truth) if o > 0]
    particles = [predicted == n for n in np.unique(predicted) if n > 0]
    return np.array([[(o & p).sum() / (o | p).sum() for p in particles] for o in objects])


def test_scores_worked_out_by_hand() -> None:
    truth = np.array([[1, 1, 1, 1], [2, 2, 2, 2], [0, 0, 0, 0]])
    predicted = np.array([[3, 3, 3, 3], [3, 3, 5, 5], [0, 0, 0, 5]])
    # of 28 pairs of foreground pixels: 12 together in truth, 15 + 1 in the prediction, 6 + 1 + 1 in both
    expected = 12 * 16 / 28
    assert masks.fg_ari(predicted, truth) == pytest.approx((8 - expected) / (14 - expected))
    # IoU of object 1: 4/6 with particle 3; of object 2: 2/8 with 3, 2/5 with 5
    assert masks.mean_overlaps(predicted, truth) == pytest.approx(((4 / 6 + 2 / 5) / 2, (4 / 6 + 2 / 5) / 2))


def test_one_particle_over_two_objects_is_matched_once_and_overlaps_both() -> None:
    truth, predicted = np.array([1, 1, 1, 2]), np.array([7, 7, 7, 7])
    assert masks.mean_overlaps(predicted, truth) == pytest.approx((3 / 4 / 2, (3 / 4 + 1 / 4) / 2))
    assert masks.fg_ari(predicted, truth) == 0


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_the_definitions_whatever_the_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 4, (6, 7)), rng.integers(0, 5, (6, 7))
    assert masks.fg_ari(predicted, truth) == pytest.approx(ari_of_pairs(predicted, truth))
    iou = iou_of_sets(predicted, truth)
    best = max(sum(iou[i, j] for i, j in enumerate(order)) for order in permutations(range(4), 3)) / 3
    assert masks.mean_overlaps(predicted, truth) == pytest.approx((best, iou.max(1).mean()))
    renumbered = np.array([0, 9, 3, 5, 2])[predicted]
    assert masks.fg_ari(renumbered, truth) == pytest.approx(masks.fg_ari(predicted, truth))
    assert masks.mean_overlaps(renumbered, truth) == pytest.approx(masks.mean_overlaps(predicted, truth))


def test_the_truth_scores_one_and_chance_scores_nothing() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (16, 16))
    assert (masks.fg_ari(truth, truth), *masks.mean_overlaps(truth, truth)) == (1, 1, 1)
    one = np.minimum(truth, 1)
    assert masks.fg_ari(one, one) == 1  # a single object, all of it together
    by_chance = [masks.fg_ari(rng.permuted(truth.ravel()), truth.ravel()) for _ in range(200)]
    assert abs(np.mean(by_chance)) < 0.01


def test_frames_without_an_object_are_left_out() -> None:
    truth = np.array([[[0, 0]], [[1, 2]], [[1, 1]]])
    predicted = np.array([[[4, 4]], [[1, 2]], [[0, 0]]])
    scores = masks.evaluate_masks(predicted, truth)
    assert np.isnan(scores.fg_ari).tolist() == [True, False, False]
    assert masks.summary([scores]) == pytest.approx({"fg_ari": 1.0, "miou": 0.5, "mbo": 0.5})
    assert masks.summary([scores.of(np.array([True, False, False]))]) == {}
    assert masks.summary([]) == {}


def test_a_pixel_belongs_to_what_draws_most_of_it() -> None:
    shares = torch.tensor([[0.2, 0.6, 0.3], [0.1, 0.3, 0.4]])[None, :, None]
    assert masks.labels_of(shares).tolist() == [[[0, 1, 2]]]


def test_masks_of_balls_are_what_is_drawn(tmp_path: Path) -> None:
    write_balls(tmp_path / "b.h5", (2, 1, 1), 20, mode="occlusion")
    episode = Rollouts(tmp_path / "b.h5").episode(1)
    assert episode.states is not None
    truth = episode.states["masks"]
    assert truth.dtype == np.uint8
    colour = episode.states["colour"][0]
    painted = np.concatenate([np.zeros((1, 3)), colour])[truth] * 255
    around = [np.roll(truth, shift, axis) for shift in (-1, 1) for axis in (1, 2)]
    inner = np.all([truth == neighbour for neighbour in around], axis=0)  # edges are smooth
    assert inner.mean() > 0.8
    assert (painted == episode.frames)[inner].all()


def test_masks_of_shapes_and_of_push_are_what_is_drawn() -> None:
    pictures, states = draw_shapes(np.random.default_rng(0), 20)
    for picture, colour, truth in zip(pictures, states["colour"], states["masks"], strict=True):
        palette = np.concatenate([[[0, 1, 1]], colour]) * 255
        assert (picture == np.round(palette[truth])).all()
    env = PushEnv(n_objects=3)
    for seed in range(5):
        env.reset(seed=seed)
        truth = env.ground_truth()
        inside = truth["masks"] > 0
        drawn = np.concatenate([np.zeros((1, 3)), truth["colour"]])[truth["masks"]] * 255
        assert (np.abs(drawn - env.render()).max(-1)[inside] <= 110).all()
        centres = np.round((truth["position"] + 1) / 2 * 63).astype(int)
        assert [truth["masks"][y, x] for x, y in centres] == [1, 2, 3, 4]


def test_the_bundled_model_has_the_balls_masks(tmp_path: Path) -> None:
    write_balls(tmp_path / "b.h5", (0, 0, 4), 10, seed=5)
    model, rollouts = VideoModel.from_pretrained(BALLS).image, Rollouts(tmp_path / "b.h5")
    evaluated = [
        images.evaluate_episode(model, rollouts.episode(i), {"psnr": metrics.psnr}) for i in range(4)
    ]
    report = images.report(evaluated)
    assert report.overall["fg_ari"] > 0.9
    assert 0.5 < report.overall["miou"] <= report.overall["mbo"] <= 1
    assert report.by_objects[3]["miou"] == pytest.approx(report.overall["miou"], abs=0.05)
