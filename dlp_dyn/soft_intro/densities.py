"""Points of the plane."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.nn import mlp
from dlp_dyn.soft_intro.config import DensityConfig, SoftIntroConfig, own_section
from dlp_dyn.soft_intro.model import IntroVAE


class Perceptron(nn.Sequential):
    """Its first and its last layer are in float32 under autocast too: half precision tells points of narrow modes from
    each other no better than by half of their spread."""

    def __init__(self, cfg: DensityConfig, before: int, after: int) -> None:
        super().__init__(*mlp([before, *[cfg.hidden_dim] * (cfg.n_hidden + 1), after], nn.ReLU))

    def forward(self, input: Float[Tensor, "B I"]) -> Float[Tensor, "B O"]:
        first, *between, last = self
        with torch.autocast(input.device.type, enabled=False):
            x = first(input.float())
        for layer in between:
            x = layer(x)
        with torch.autocast(input.device.type, enabled=False):
            return last(x.float())


class PointEncoder(nn.Module):
    def __init__(self, cfg: DensityConfig) -> None:
        super().__init__()
        self.layers = Perceptron(cfg, 2, 2 * cfg.latent_dim)

    def forward(self, x: Float[Tensor, "B 2"]) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        mean, log_variance = self.layers(x).chunk(2, -1)
        return mean, log_variance


class DensityVAE(IntroVAE):
    """Perceptrons both ways."""

    def __init__(self, cfg: SoftIntroConfig, own: DensityConfig) -> None:
        super().__init__(cfg, PointEncoder(own), Perceptron(own, own.latent_dim, 2), own.latent_dim, 2)

    @classmethod
    def build(cls, cfg: SoftIntroConfig) -> "DensityVAE":
        return cls(cfg, own_section(cfg.densities, "densities"))
