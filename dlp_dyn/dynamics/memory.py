"""What the steps of one rollout hand on, so that nothing is computed twice that would come out the same."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.dynamics.blocks import Past
from dlp_dyn.dynamics.packed import PackedLinear


@dataclass
class Memory:
    """Of one rollout of one transformer, whose weights may not change meanwhile; empty before the first step.

    tokens: of the frames in the window. n_new: how many of them the last step brought. slid: whether older ones left.
    pasts: of each block that attends over time. constants: what is the same at every step. linear: applies layers.
    """

    tokens: Float[Tensor, "B T N D"] | None = None
    n_new: int = 0
    slid: bool = False
    pasts: list[Past] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)
    linear: Callable[..., Tensor] = field(default_factory=PackedLinear)

    def missing(self, n_frames: int) -> int:
        """How many of the newest frames of a window have no tokens here: all, or the one that came last."""
        if self.tokens is None:
            return n_frames
        assert n_frames in (self.tokens.shape[1], self.tokens.shape[1] + 1), "not the window after the last"
        return 1

    def extend(self, tokens: Float[Tensor, "B U N D"], n_frames: int) -> Float[Tensor, "B T N D"]:
        """All tokens of the window, with those of its newest frames given."""
        self.n_new = tokens.shape[1]
        known = tokens if self.tokens is None else torch.cat([self.tokens, tokens], 1)
        self.slid = known.shape[1] > n_frames
        self.tokens = known[:, -n_frames:]
        return self.tokens

    @property
    def n_run(self) -> int:
        """The newest frames whose states are not known. States that have seen a frame that left the window are none."""
        assert self.tokens is not None
        return self.tokens.shape[1] if self.slid else self.n_new
