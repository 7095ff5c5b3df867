"""A history by hand, in which every number can be told from its place."""

import torch

from dlp_dyn.particles import Particles, Scene


def history(t: int = 3, n: int = 3) -> Scene:
    """Particle i is at x = i / 10 in the last frame and moves by 0.05 a frame along x; all are on, at depth i."""
    i = torch.arange(n).float()
    back = torch.arange(1 - t, 1).float()
    x = i / 10 + 0.05 * back[:, None]
    features = 10 * i[:, None] + torch.arange(2).float()
    return Scene(
        Particles(
            torch.stack([x, torch.full_like(x, -0.2)], -1),
            torch.full((t, n, 2), -1.0),
            i[:, None].expand(t, n, 1).clone(),
            torch.ones(t, n, 1),
            features.expand(t, n, 2).clone(),
        ),
        torch.zeros(t, 1),
    )
