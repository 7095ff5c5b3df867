"""Evaluating particles without labels: the blobs that differ from what stands still, and the energy that is drawn."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from dlp_dyn import metrics
from dlp_dyn.data.inspection import Inspection

RADIUS_PX = 4.0  # a blob's middle is not quite that of a thing: its shadow, and what hides it


@dataclass(frozen=True)
class Moving:
    """Per frame: blobs, those with a particle of their own, and squared differences of what moves from what stands
    still and from the picture that was drawn."""

    n_blobs: Int[np.ndarray, " T"]
    n_found: Int[np.ndarray, " T"]
    n_on: Int[np.ndarray, " T"]
    energy: Float[np.ndarray, " T"]
    left: Float[np.ndarray, " T"]


def evaluate_moving(
    inspection: Inspection,
    frames: UInt8[np.ndarray, "T S S 3"],
    pictures: Float[np.ndarray, "T S S 3"],
    particles: Float[np.ndarray, "T N 2"],
    on: Bool[np.ndarray, "T N"],
) -> Moving:
    """pictures: as drawn, in [0, 1]. particles: positions in pixels."""
    found = []
    for blobs, places, visible in zip(inspection.blobs(frames), particles, on, strict=True):
        everything = np.ones(len(blobs.centre), bool)
        match = metrics.match(places, visible, blobs.centre, everything, RADIUS_PX)
        found.append((len(everything), int((match.distance <= RADIUS_PX).sum())))
    difference = inspection.difference(frames)
    mask = np.abs(difference).max(-1, keepdims=True) > inspection.threshold
    error = frames.astype(np.float32) / 255 - pictures
    n_blobs, n_found = np.array(found, int).reshape(-1, 2).T
    return Moving(n_blobs, n_found, on.sum(1), _energy(difference, mask), _energy(error, mask))


def summary(evaluated: Iterable[Moving]) -> dict[str, float]:
    """moving_recall: share of blobs with a particle within 4 pixels. moving_precision: share of the particles that are
    on which are such a particle. moving_share: of the energy of what moves, how much is drawn right.
    """
    every = list(evaluated)
    blobs, found, on = (sum(int(getattr(m, k).sum()) for m in every) for k in ("n_blobs", "n_found", "n_on"))
    energy, left = (sum(float(getattr(m, k).sum()) for m in every) for k in ("energy", "left"))
    figures = {}
    if blobs:
        figures["moving_recall"] = found / blobs
    if on:
        figures["moving_precision"] = found / on
    if energy:
        figures["moving_share"] = 1 - left / energy
    return figures


def _energy(difference: Float[np.ndarray, "T S S 3"], mask: Bool[np.ndarray, "T S S 1"]) -> np.ndarray:
    return (np.square(difference) * mask).sum((1, 2, 3))
