"""Settings of diffusion over the particles of a clip."""

from dataclasses import dataclass
from typing import Literal

from dlp_dyn.errors import InputError


@dataclass(frozen=True)
class DiffusionConfig:
    """DiffuseDDLP: a transformer that takes noise off the particles of a short clip."""

    frames: int = 4
    """1 or more: of the clips that are generated; dynamics carry on from them."""
    steps: int = 1000
    """2 or more: of noise, from a clip to nothing but noise."""
    dim: int = 256
    """a multiple of n_heads, even: width of the tokens."""
    n_layers: int = 6
    """1 or more: depth."""
    n_heads: int = 8
    """1 or more: heads of attention."""
    dropout: float = 0.1
    """0 to 1: share of activations that are dropped in training."""
    causal: bool = True
    """Frames see no later ones, as published; off for clips that are completed from their end as well."""
    error: Literal["l1", "l2"] = "l1"
    """Of what the clip without noise is thought to be."""
    normalization: Literal["minmax", "std"] = "minmax"
    """Of columns before noise is added; sampling is clipped to [-1, 1], so std cuts at one deviation."""
    quantile: float = 0.0
    """0 to 0.5: share of values at either end that minmax leaves out, against outliers."""

    def check(self) -> None:
        """Raise InputError for values that no model can be built from."""
        if self.dim % self.n_heads or self.dim % 2:
            raise InputError(
                f"generation.dim={self.dim} is not an even multiple of n_heads={self.n_heads}: change one of them"
            )
        for name, least in (("frames", 1), ("steps", 2), ("n_layers", 1)):
            if getattr(self, name) < least:
                raise InputError(f"generation.{name}={getattr(self, name)}: the least is {least}")
