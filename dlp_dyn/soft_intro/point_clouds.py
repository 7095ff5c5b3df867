"""Sets of points in space: a PointNet and a perceptron, compared by Chamfer distance (3d-AAE, arXiv 1811.07605)."""

import math
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.nn import mlp
from dlp_dyn.soft_intro.config import Norm, PointCloudConfig, SoftIntroConfig, own_section
from dlp_dyn.soft_intro.model import IntroVAE

_GROUPS = 8


def squared_distances(a: Float[Tensor, "*B N 3"], b: Float[Tensor, "*B M 3"]) -> Float[Tensor, "*B N M"]:
    """Of all pairs, by the expanded square: rounding makes those of equal points slightly different from 0."""
    return a.square().sum(-1)[..., :, None] + b.square().sum(-1)[..., None, :] - 2 * a @ b.transpose(-1, -2)


def chamfer(a: Float[Tensor, "*B N 3"], b: Float[Tensor, "*B M 3"]) -> Float[Tensor, "*B"]:
    """Squared distances of every point to the nearest of the other set, summed both ways."""
    pairs = squared_distances(a, b)
    return pairs.amin(-1).sum(-1) + pairs.amin(-2).sum(-1)


class CloudEncoder(nn.Module):
    """Layers on single points, activated before they are normalised; their maximum over points."""

    def __init__(self, cfg: PointCloudConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise([3, *cfg.encoder_channels]):
            layers += [nn.Conv1d(before, after, 1, bias=False), nn.ReLU(), _norm_1d(cfg.norm, after)]
        self.points = nn.Sequential(*layers)
        self.hidden = nn.Linear(cfg.encoder_channels[-1], cfg.encoder_hidden)
        self.mean = nn.Linear(cfg.encoder_hidden, cfg.latent_dim)
        self.log_variance = nn.Linear(cfg.encoder_hidden, cfg.latent_dim)

    def forward(self, x: Float[Tensor, "B N 3"]) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        x = self.hidden(self.points(x.transpose(1, 2)).amax(2)).relu()
        return self.mean(x), self.log_variance(x)


def _norm_1d(kind: Norm, channels: int) -> nn.Module:
    return (
        nn.BatchNorm1d(channels) if kind == "batch" else nn.GroupNorm(math.gcd(_GROUPS, channels), channels)
    )


class CloudDecoder(nn.Module):
    def __init__(self, cfg: PointCloudConfig) -> None:
        super().__init__()
        self.n_points = cfg.n_points
        self.layers = mlp([cfg.latent_dim, *cfg.decoder_channels, 3 * cfg.n_points], nn.ReLU)

    def forward(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B N 3"]:
        return self.layers(z).unflatten(1, (3, self.n_points)).transpose(1, 2)


class PointCloudVAE(IntroVAE):
    """Clouds of a fixed number of points, coordinates within 0.5 of the origin."""

    def __init__(self, cfg: SoftIntroConfig, own: PointCloudConfig) -> None:
        super().__init__(
            cfg, CloudEncoder(own), CloudDecoder(own), own.latent_dim, 3 * own.n_points, own.prior_std
        )
        self.own = own

    @classmethod
    def build(cls, cfg: SoftIntroConfig) -> "PointCloudVAE":
        return cls(cfg, own_section(cfg.point_clouds, "point_clouds"))

    def error(self, x: Float[Tensor, "B N 3"], drawn: Float[Tensor, "B M 3"]) -> Float[Tensor, " B"]:
        """Chamfer distance: sums of squared distances."""
        return chamfer(x.float(), drawn.float())
