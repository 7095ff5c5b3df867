"""Appearance exchanged over time: what a thing looks like is the same a few frames later, where it is need not be."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.particles import Particles, Scene

_APPEARANCE, _APPEARANCE_MOST, _FARTHEST = (
    0.15,
    3.0,
    0.5,
)  # of a match: price of unlike features, its cap, largest distance


def exchange(scene: Scene, share: Tensor | float) -> Scene:
    """Scenes of pairs of frames (2i, 2i + 1), each particle drawn with the features of its partner in the other frame.

    Partners are each other's nearest visible particles, by position and a little by looks. One that hides two things
    that touch cannot do so with the features that it had when they were apart (docs/notes/contact.md).
    share: of the pairs that are exchanged, drawn at random.
    """
    p = scene.particles
    pairs = len(p.position) // 2
    first, second = (_half(p, i) for i in (0, 1))
    with torch.no_grad():
        forth, mutual_first, back, mutual_second = _partners(first, second)
        chosen = torch.rand(pairs, 1, device=p.position.device) < share
    features = torch.stack(
        [
            _taken(first.features, second.features, forth, mutual_first & chosen),
            _taken(second.features, first.features, back, mutual_second & chosen),
        ],
        dim=1,
    ).flatten(0, 1)
    return replace(scene, particles=replace(p, features=features))


def _half(p: Particles, i: int) -> Particles:
    return p.map(lambda x: x[i::2])


def _partners(first: Particles, second: Particles) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Nearest particle of the other frame, and whether each is the other's nearest, for both frames."""
    distance = torch.cdist(first.position, second.position)
    distance = distance + _APPEARANCE * torch.cdist(first.features, second.features).clamp_max(
        _APPEARANCE_MOST
    )
    visible = first.visible[..., None] & second.visible[..., None, :]
    distance = distance.masked_fill(~visible, torch.inf)
    (to_second, forth), (to_first, back) = distance.min(2), distance.min(1)
    slots = torch.arange(distance.shape[1], device=distance.device)
    mutual_first = (back.gather(1, forth) == slots) & (to_second < _FARTHEST)
    mutual_second = (forth.gather(1, back) == slots) & (to_first < _FARTHEST)
    return forth, mutual_first, back, mutual_second


def _taken(
    own: Float[Tensor, "B N F"], other: Float[Tensor, "B N F"], index: Tensor, use: Tensor
) -> Float[Tensor, "B N F"]:
    return torch.where(use[..., None], other.take_along_dim(index[..., None], 1), own)
