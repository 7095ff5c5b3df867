"""Key points by linear regression from particles: the protocol of MAFL (DLPv1, arXiv 2205.15821, section 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from scipy.optimize import linear_sum_assignment

from dlp_dyn.clip import to_images
from dlp_dyn.image.keypoint_vae.model import KeypointVAE
from dlp_dyn.image.model import DLP
from dlp_dyn.tree import TensorTree, cat

Columns = Literal["position", "spread", "all"]
_AT_ONCE = 128  # frames
EYES = (0, 1)  # landmarks whose distance errors are measured in


@dataclass(frozen=True)
class ParticleRows(TensorTree):
    """Particles of N frames as regression sees them; DLPv1's background is its last row.

    position_spread, features_spread: log-variances.
    """

    position: Float[torch.Tensor, "N K 2"]
    position_spread: Float[torch.Tensor, "N K 2"]
    features: Float[torch.Tensor, "N K F"]
    features_spread: Float[torch.Tensor, "N K F"]

    def columns(self, what: Columns) -> Float[torch.Tensor, "N K C"]:
        """`position` alone; `spread` adds its log-variances; `all` adds features and theirs too."""
        parts = [self.position]
        if what != "position":
            parts.append(self.position_spread)
        if what == "all":
            parts += [self.features, self.features_spread]
        return torch.cat(parts, -1)

    def design(self, what: Columns, rows: Int[torch.Tensor, " k"] | None = None) -> Float[np.ndarray, "N D"]:
        """The columns of all particles, or of some, side by side.

        There is no column of ones: as published, only the constant log-variance of DLPv1's background stands for it.
        """
        columns = self.columns(what)
        chosen = columns if rows is None else columns[:, rows]
        return chosen.flatten(1).double().numpy()

    def ranked(self) -> Int[torch.Tensor, " K"]:
        """Particles from the most to the least certain, by the mean log-variance of their position."""
        return self.position_spread.sum(-1).mean(0).argsort()


@torch.no_grad()
def read_particles(model: KeypointVAE | DLP, frames: UInt8[np.ndarray, "N H W 3"]) -> ParticleRows:
    """Of each frame, without noise."""
    device, training = next(model.parameters()).device, model.training
    model.eval()
    parts = []
    for begin in range(0, len(frames), _AT_ONCE):
        images = to_images(frames[begin : begin + _AT_ONCE], device)
        if isinstance(model, KeypointVAE):
            found = model.encode(images)
            position, features = found.position_posterior, found.features_posterior
        else:
            posterior = model.encode(images).particles
            position, features = posterior.position, posterior.features
        spreads = [(2 * d.scale.log()).expand_as(d.loc) for d in (position, features)]
        parts.append(ParticleRows(position.loc, spreads[0], features.loc, spreads[1]).to("cpu"))
    model.train(training)
    return cat(parts, 0)


def regress(
    design: Float[np.ndarray, "N D"],
    targets: Float[np.ndarray, "N L 2"],
    others: Float[np.ndarray, "M D"],
    intercept: bool = False,
) -> Float[np.ndarray, "M L 2"]:
    """What least squares on `design` and `targets` predicts for `others`; of many solutions, the shortest one."""
    if intercept:
        design, others = (np.concatenate([x, np.ones((len(x), 1))], 1) for x in (design, others))
    weights = np.linalg.lstsq(design, targets.reshape(len(targets), -1), rcond=None)[0]
    return (others @ weights).reshape(len(others), *targets.shape[1:])


def eye_distance_error(
    found: Float[np.ndarray, "N L 2"], truth: Float[np.ndarray, "N L 2"], eyes: tuple[int, int] = EYES
) -> float:
    """Mean distance of landmarks from the truth, in per cent of the distance between the eyes of each face."""
    apart = np.linalg.norm(truth[:, eyes[0]] - truth[:, eyes[1]], axis=-1)
    return float(100 * (np.linalg.norm(found - truth, axis=-1) / apart[:, None]).mean())


def pixel_error(found: Float[np.ndarray, "N L 2"], truth: Float[np.ndarray, "N L 2"], side: int) -> float:
    """Mean distance in pixels, of positions in [-1, 1]."""
    return float(np.linalg.norm(found - truth, axis=-1).mean() * 0.5 * (side - 1))


def landmark_errors(
    train: ParticleRows,
    landmarks: Float[np.ndarray, "N L 2"],
    test: ParticleRows,
    truth: Float[np.ndarray, "M L 2"],
    n_chosen: int = 10,
) -> dict[str, float]:
    """MAFL's protocol: errors in per cent of the eyes' distance, with and without log-variances and features.

    most_certain, least_certain: from the position and log-variances of so many particles alone, as their log-variances
    rank them on the training frames.
    """
    errors = {}
    for what in ("position", "spread", "all"):
        predicted = regress(train.design(what), landmarks, test.design(what))
        errors[what] = eye_distance_error(predicted, truth)
    ranked = train.ranked()
    for name, rows in (("most_certain", ranked[:n_chosen]), ("least_certain", ranked[-n_chosen:])):
        predicted = regress(train.design("spread", rows), landmarks, test.design("spread", rows))
        errors[name] = eye_distance_error(predicted, truth)
    return errors


def nearest_rows(
    rows: ParticleRows, centres: Float[np.ndarray, "N O 2"], visible: np.ndarray, what: Columns
) -> tuple[Float[np.ndarray, "P D"], Float[np.ndarray, "P 2"]]:
    """For objects in no order: of each visible one the particle nearest to it, one to one, and its centre."""
    columns, positions = rows.columns(what).double().numpy(), rows.position.double().numpy()
    found, targets = [], []
    for column, position, centre in zip(columns, positions, _visible(centres, visible), strict=True):
        gap = np.linalg.norm(position[:, None] - centre, axis=-1)
        particle, thing = linear_sum_assignment(gap)
        found.append(column[particle])
        targets.append(centre[thing])
    return np.concatenate(found), np.concatenate(targets)


def centre_error(
    train: ParticleRows,
    centres: Sequence[np.ndarray],
    test: ParticleRows,
    truth: Sequence[np.ndarray],
    side: int,
    what: Columns = "all",
) -> float:
    """Error of objects' centres in pixels: regression from the particle that is nearest to each, whatever its row.

    centres, truth: (positions in [-1, 1], which are visible) of labelled and of other frames.
    """
    design, targets = nearest_rows(train, centres[0], centres[1], what)
    others, expected = nearest_rows(test, truth[0], truth[1], what)
    predicted = regress(design, targets[:, None], others, intercept=True)
    return pixel_error(predicted, expected[:, None], side)


def _visible(centres: np.ndarray, visible: np.ndarray) -> list[np.ndarray]:
    return [points[seen] for points, seen in zip(centres, visible.astype(bool), strict=True)]
