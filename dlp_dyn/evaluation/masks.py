"""Evaluating the masks of particles against instance masks: FG-ARI, mIoU, mBO.

A pixel belongs to whatever draws most of it, one particle or the background. Label 0 is the background.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Labels = Integer[np.ndarray, "*P"]


@dataclass(frozen=True)
class MaskScores:
    """Per frame; NaN where the truth shows no object."""

    fg_ari: Float[np.ndarray, " T"]
    miou: Float[np.ndarray, " T"]
    mbo: Float[np.ndarray, " T"]

    def of(self, frames: np.ndarray) -> "MaskScores":
        return MaskScores(*(values[frames] for values in astuple(self)))


def labels_of(shares: Float[Tensor, "B N H W"]) -> Int[np.ndarray, "B H W"]:
    """What draws most of every pixel: 0 the background, n + 1 particle n. shares: those of `DLP.masks`."""
    background = 1 - shares.sum(1, keepdim=True)
    return torch.cat([background, shares], 1).argmax(1).cpu().numpy()


def evaluate_masks(
    predicted: Integer[np.ndarray, "T H W"], truth: Integer[np.ndarray, "T H W"]
) -> MaskScores:
    """Scores frame by frame."""
    rows = [(fg_ari(p, t), *mean_overlaps(p, t)) for p, t in zip(predicted, truth, strict=True)]
    return MaskScores(*np.array(rows, float).reshape(-1, 3).T)


def fg_ari(predicted: Labels, truth: Labels) -> float:
    """Adjusted Rand index over the pixels of true objects (Hubert and Arabie 1985; "foreground ARI").

    1 for the same partition, whatever its numbers, and about 0 for one by chance. NaN without an object.
    """
    inside = truth > 0
    if not inside.any():
        return float("nan")
    table = _contingency(predicted[inside], truth[inside])
    together, of_truth, of_predicted = _pairs(table), _pairs(table.sum(1)), _pairs(table.sum(0))
    expected = of_truth * of_predicted / max(_pairs(table.sum(keepdims=True)), 1)
    most = (of_truth + of_predicted) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def mean_overlaps(predicted: Labels, truth: Labels) -> tuple[float, float]:
    """mIoU and mBO over the true objects, in [0, 1]; NaN without an object.

    mIoU: intersection over union with particles matched one to one (Hungarian algorithm), 0 for an object that is left
    over. mBO: with whichever particle overlaps best (Pont-Tuset et al. 2017).
    """
    table = _contingency(predicted, truth)
    union = table.sum(1, keepdims=True) + table.sum(0) - table
    present = table.sum(1) > 0
    present[0] = False
    if not present.any():
        return float("nan"), float("nan")
    iou = (table / np.maximum(union, 1))[present, 1:]
    matched = iou[linear_sum_assignment(iou, maximize=True)].sum() / len(iou)
    return float(matched), float(iou.max(1, initial=0).mean())


def summary(evaluated: Iterable[MaskScores]) -> dict[str, float]:
    """Means over the frames that show an object; without one, a score is left out."""
    rows = [np.stack(astuple(scores)) for scores in evaluated]
    if not rows:
        return {}
    joined = np.concatenate(rows, axis=1)
    known = joined[:, ~np.isnan(joined[0])]
    return dict(zip(("fg_ari", "miou", "mbo"), known.mean(1).tolist(), strict=True)) if known.size else {}


def _contingency(predicted: Labels, truth: Labels) -> Int[np.ndarray, "O N"]:
    """How many pixels have each pair of labels, a row for each true one, the background's first."""
    width = int(predicted.max(initial=0)) + 1
    height = int(truth.max(initial=0)) + 1
    pairs = truth.astype(np.int64) * width + predicted
    return np.bincount(pairs.ravel(), minlength=height * width).reshape(height, width)


def _pairs(counts: np.ndarray) -> float:
    """How many pairs can be taken out of groups of these sizes."""
    n = counts.astype(float)
    return float((n * (n - 1) / 2).sum())
