"""Which particle of one clip is most like which of another: latent actions carried from a video to another scene."""

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dlp_dyn.particles import Scene


def alike(source: Scene, target: Scene) -> Int[Tensor, "B N"]:
    """For each particle of the target's last frame the one of the source's first that it is paired with by looks.

    -1 where it is off, or none is left. Looks are features and size, over (B, T, ...).
    """
    a, b = source.particles[:, 0], target.particles[:, -1]
    looks = [torch.cat([p.features, p.scale], -1).float() for p in (a, b)]
    pairs = torch.full(b.position.shape[:2], -1)
    for row, cost in enumerate(torch.cdist(looks[1], looks[0]).cpu()):
        mine, other = (p.visible[row].nonzero()[:, 0].cpu() for p in (b, a))
        chosen = linear_sum_assignment(cost[mine][:, other].numpy())
        pairs[row, mine[chosen[0]]] = other[chosen[1]]
    return pairs.to(b.position.device)


def carried(latent: Float[Tensor, "B U M L"], pairs: Int[Tensor, "B N"]) -> Float[Tensor, "B U K L"]:
    """Latent actions in the order of the target's particles, the background's last; NaN for those without a partner."""
    index = pairs.clamp_min(0)[:, None, :, None].expand(-1, latent.shape[1], -1, latent.shape[3])
    moved = latent[:, :, :-1].gather(2, index)
    moved = moved.masked_fill((pairs < 0)[:, None, :, None], torch.nan)
    return torch.cat([moved, latent[:, :, -1:]], 2)
