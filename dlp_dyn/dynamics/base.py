"""What crosses the border of dynamics."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from dlp_dyn.particles import Scene


@dataclass(frozen=True)
class Conditions:
    """What steers dynamics beside the scenes themselves; absent ones are None.

    actions: `actions[:, t]` leads from frame t to frame t + 1. goal: the scene to reach. language: tokens of a text.
    view: which camera each clip was seen by.
    """

    actions: Float[Tensor, "B T A"] | None = None
    goal: Scene | None = None
    language: Float[Tensor, "b L E"] | None = None
    view: Float[Tensor, " B"] | None = None


NOTHING = Conditions()
