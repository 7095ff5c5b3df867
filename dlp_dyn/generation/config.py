"""Settings of diffusion over the particles of a clip."""

from dataclasses import dataclass
from typing import Annotated, Literal

from dlp_dyn.errors import InputError
from dlp_dyn.settings import Count, Fraction, at_least, between, check


@dataclass(frozen=True)
class DiffusionConfig:
    """DiffuseDDLP: a transformer that takes noise off the particles of a short clip."""

    frames: Count = 4
    """Of the clips that are generated; dynamics carry on from them."""
    steps: Annotated[int, at_least(2)] = 1000
    """Of noise, from a clip to nothing but noise."""
    dim: Count = 256
    """Width of the tokens, even and a multiple of n_heads."""
    n_layers: Count = 6
    """Depth."""
    n_heads: Count = 8
    """Heads of attention."""
    dropout: Fraction = 0.1
    """Share of activations that are dropped in training."""
    attention: Literal["joint", "factorised", "rows"] = "joint"
    """Of all rows of a clip to each other, as published; among the rows of a frame and along each row, in turns; or
    among `rows`, each a token of all its frames, which needs causal=false."""
    causal: bool = True
    """Frames see no later ones, as published; off for clips that are completed from their end as well."""
    gaps: bool = False
    """In training every second clip has a gap: the frames around it are shown without noise, and straight lines between
    them, from which what is filled is counted. Needs causal=false."""
    predicts: Literal["clip", "velocity"] = "clip"
    """What the network gives: the clip without noise, as published, or its velocity into noise (v-prediction), whose
    errors count for less the less noise there is."""
    hide_off: bool = False
    """Particles that are off all have the same row: nothing is learned of what nobody sees. False as published."""
    motion: bool = False
    """Steps between frames are columns of their own, scaled to their range; positions are those that fit both best."""
    error: Literal["l1", "l2"] = "l1"
    """Of what the network gives."""
    normalization: Literal["minmax", "std"] = "minmax"
    """Of columns before noise is added; sampling is clipped to [-1, 1], so std cuts at one deviation."""
    quantile: Annotated[float, between(0, 0.5, "most")] = 0.0
    """Share of values at either end that minmax leaves out, against outliers."""

    def check(self) -> None:
        """Raise InputError for values that no model can be built from."""
        check(self, "generation")
        if self.gaps and (self.causal or self.frames < 3):
            raise InputError(
                "generation.gaps=true fills frames from those around them: give causal=false and 3 frames or more"
            )
        if self.attention == "rows" and self.causal:
            raise InputError("generation.attention=rows sees all frames at once: give causal=false")
        if self.dim % self.n_heads or self.dim % 2:
            raise InputError(
                f"generation.dim={self.dim} is not an even multiple of n_heads={self.n_heads}: change one of them"
            )
