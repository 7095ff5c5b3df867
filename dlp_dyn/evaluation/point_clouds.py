"""How well sampled point clouds fit those of a data set (Achlioptas et al. 2018)."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from dlp_dyn.soft_intro.point_clouds import chamfer

_AT_ONCE = 32  # clouds


def pairwise_chamfer(a: Float[Tensor, "A N 3"], b: Float[Tensor, "B M 3"]) -> Float[Tensor, "A B"]:
    """Chamfer distance of every cloud of one set to every cloud of another."""
    rows = []
    for cloud in a:
        rows.append(torch.cat([chamfer(cloud.expand(len(part), -1, -1), part) for part in b.split(_AT_ONCE)]))
    return torch.stack(rows)


def coverage(samples: Float[Tensor, "S N 3"], reference: Float[Tensor, "R M 3"]) -> dict[str, float]:
    """mmd: mean distance of reference clouds to their nearest sample, a point. cov: share of reference clouds that
    are nearest to some sample."""
    distance = pairwise_chamfer(samples, reference)
    nearest = distance.argmin(1).unique().numel()
    return {
        "mmd": float(distance.amin(0).mean()) / reference.shape[1],
        "cov": nearest / len(reference),
    }


def occupancy_jsd(a: Float[np.ndarray, "A N 3"], b: Float[np.ndarray, "B M 3"], cells: int = 28) -> float:
    """Jensen-Shannon divergence in bits of where the points of two sets of clouds lie.

    On the centres of a grid over [-0.5, 0.5]^3 that are within 0.5 of the origin; a point counts for the nearest.
    """
    p, q = (_occupancy(x.reshape(-1, 3), cells) for x in (a, b))
    m = (p + q) / 2
    return (_bits(p, m) + _bits(q, m)) / 2


def _occupancy(points: Float[np.ndarray, "n 3"], cells: int) -> Float[np.ndarray, " K"]:
    line = np.linspace(-0.5, 0.5, cells)
    grid = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    inside = grid[np.linalg.norm(grid, axis=1) <= 0.5]
    counts = np.bincount(_nearest(points, inside), minlength=len(inside))
    return counts / counts.sum()


def _nearest(points: Float[np.ndarray, "n 3"], centres: Float[np.ndarray, "K 3"]) -> Int[np.ndarray, " n"]:
    return np.asarray(KDTree(centres).query(points)[1])


def _bits(p: np.ndarray, m: np.ndarray) -> float:
    positive = p > 0
    return float((p[positive] * np.log2(p[positive] / m[positive])).sum())
