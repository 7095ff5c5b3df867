"""Points of the plane."""

from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.nn import mlp
from dlp_dyn.soft_intro.config import DensityConfig, SoftIntroConfig, own_section
from dlp_dyn.soft_intro.model import IntroVAE


class PointEncoder(nn.Module):
    def __init__(self, cfg: DensityConfig) -> None:
        super().__init__()
        self.layers = mlp([2, *[cfg.hidden_dim] * (cfg.n_hidden + 1), 2 * cfg.latent_dim], nn.ReLU)

    def forward(self, x: Float[Tensor, "B 2"]) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        mean, log_variance = self.layers(x).chunk(2, -1)
        return mean, log_variance


class DensityVAE(IntroVAE):
    """Perceptrons both ways."""

    def __init__(self, cfg: SoftIntroConfig, own: DensityConfig) -> None:
        decoder = mlp([own.latent_dim, *[own.hidden_dim] * (own.n_hidden + 1), 2], nn.ReLU)
        super().__init__(cfg, PointEncoder(own), decoder, own.latent_dim, 2)

    @classmethod
    def build(cls, cfg: SoftIntroConfig) -> "DensityVAE":
        return cls(cfg, own_section(cfg.densities, "densities"))
