"""How well samples and likelihoods of a model of the plane fit a known density."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.data import densities
from dlp_dyn.soft_intro.model import IntroVAE

_BINS = 40
_SPREAD = 6  # standard deviations of a mode within which a sample is good
_COVERED = 0.03  # share of samples that a mode needs
_TINY = 1e-14

Points = Float[np.ndarray, "n 2"]


def negative_elbo_grid(model: IntroVAE, limit: float, side: int) -> Float[Tensor, "side side"]:
    """Negative ELBO on a grid over [-limit, limit]^2; the first axis is x."""
    line = torch.linspace(-limit, limit, side)
    grid = torch.cartesian_prod(line, line).to(next(model.parameters()).device)
    return model.negative_elbo(grid).view(side, side)


def grid_normalised_elbo(
    of_points: Float[Tensor, " N"], of_grid: Float[Tensor, "side side"], repeats: int = 1
) -> float:
    """The published gnELBO: mean negative ELBO of points over the sum of that of a grid and of the points.

    repeats: how often the points were counted. Lower is better; it is a share, not a likelihood.
    """
    return float(of_points.mean() / (of_grid.sum() + repeats * of_points.sum()))


def published_kl(real: Points, fake: Points, limit: float, bins: int = 100) -> float:
    """The published "KL": of densities in bins in the place of shares, over the number of rows. Not the divergence.

    Two draws of the data themselves are far from 0 by it: compare with those.
    """
    p, q = _density(real, limit, bins), _density(fake, limit, bins)
    positive = p > 0
    return float((p[positive] * (np.log(p[positive]) - np.log(q[positive] + _TINY))).sum() / bins)


def published_jsd(real: Points, fake: Points, limit: float, bins: int = 100) -> float:
    """The published "JSD": both KLs are the other way round, so that an empty bin costs 32 nats of the mixture."""
    p, q = _density(real, limit, bins), _density(fake, limit, bins)
    m = (p + q) / 2
    positive = m > 0
    m, p, q = m[positive], p[positive], q[positive]
    both = m * (2 * np.log(m) - np.log(p + _TINY) - np.log(q + _TINY))
    return float(both.sum() / (2 * bins))


def divergences(real: Points, fake: Points, limit: float, bins: int = _BINS) -> dict[str, float]:
    """KL of real from fake and Jensen-Shannon divergence in nats, and total variation, of shares of samples in bins.

    Samples beyond the limit are a bin of their own. In the KL every bin has one more sample, of both, since an empty
    one would make it infinite.
    """
    counts = [_counts(x, limit, bins) for x in (real, fake)]
    p, q = (c / c.sum() for c in counts)
    smooth_p, smooth_q = ((c + 1) / (c + 1).sum() for c in counts)
    m = (p + q) / 2
    return {
        "kl": float((smooth_p * np.log(smooth_p / smooth_q)).sum()),
        "jsd": float((_relative(p, m) + _relative(q, m)) / 2),
        "total_variation": float(np.abs(p - q).sum() / 2),
    }


def mode_figures(name: str, fake: Points) -> dict[str, float]:
    """Of sets with narrow modes: share of samples within 6 standard deviations of one, and modes with 3 % of them."""
    centres = densities.modes(name)
    if centres is None:
        return {}
    distance = np.linalg.norm(fake[:, None] - centres, axis=-1)
    good = distance.min(1) < _SPREAD * densities.MODE_STD
    shares = np.bincount(distance.argmin(1)[good], minlength=len(centres)) / len(fake)
    return {"good_samples": float(good.mean()), "modes_covered": float((shares >= _COVERED).sum())}


def _relative(p: np.ndarray, m: np.ndarray) -> float:
    positive = p > 0
    return float((p[positive] * np.log(p[positive] / m[positive])).sum())


def _histogram(x: Points, limit: float, bins: int, density: bool) -> np.ndarray:
    return np.histogram2d(x[:, 0], x[:, 1], bins, [[-limit, limit]] * 2, density=density)[0]


def _density(x: Points, limit: float, bins: int) -> np.ndarray:
    return _histogram(x, limit, bins, density=True)


def _counts(x: Points, limit: float, bins: int) -> np.ndarray:
    inside = _histogram(x, limit, bins, density=False).ravel()
    return np.append(inside, len(x) - inside.sum())
