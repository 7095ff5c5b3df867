"""What the strategies of tracking carry from frame to frame."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from dlp_dyn.particles import Particles
from dlp_dyn.tree import TensorTree


@dataclass(frozen=True)
class TrackState(TensorTree):
    """What the tracker knows of the frame before: where, how large and how each particle looked.

    moments: spread of the heat map that found the particle, which stays its share of the confidence.
    """

    position: Float[Tensor, "B N 2"]
    scale: Float[Tensor, "B N 2"]
    template: Float[Tensor, "B N 3 S S"]
    moments: Float[Tensor, "B N 1"] | None


@dataclass(frozen=True)
class MatchState(TensorTree):
    """What is remembered of each slot. missed: frames since its object was last seen."""

    particles: Particles
    velocity: Float[Tensor, "B N 2"]
    missed: Int[Tensor, "B N"]


State = TrackState | MatchState | None
