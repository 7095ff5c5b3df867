"""Square images: residual convolutions (Soft-IntroVAE, official code)."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.soft_intro.config import ImageConfig, Norm, SoftIntroConfig, own_section
from dlp_dyn.soft_intro.model import IntroVAE

_SLOPE = 0.2
_GROUPS = 8


def norm_2d(kind: Norm, channels: int) -> nn.Module:
    """Group norm of up to 8 groups, or batch norm."""
    return (
        nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(math.gcd(_GROUPS, channels), channels)
    )


class ResidualBlock(nn.Module):
    """Two convolutions, normalised before the addition. convolved: the skip is one too, whatever the widths."""

    def __init__(self, before: int, after: int, norm: Norm, convolved: bool = False) -> None:
        super().__init__()
        convolved = convolved or before != after
        self.skip = nn.Conv2d(before, after, 1, bias=False) if convolved else nn.Identity()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm1 = norm_2d(norm, after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = norm_2d(norm, after)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        y = F.leaky_relu(self.norm1(self.conv1(x)), _SLOPE)
        return F.leaky_relu(self.norm2(self.conv2(y)) + self.skip(x), _SLOPE)


class ImageEncoder(nn.Module):
    def __init__(self, cfg: ImageConfig) -> None:
        super().__init__()
        widths = cfg.channels
        self.stem = nn.Conv2d(cfg.image_channels, widths[0], 5, padding=2, bias=False)
        self.stem_norm = norm_2d(cfg.norm, widths[0])
        self.blocks = nn.ModuleList(
            ResidualBlock(a, b, cfg.norm, cfg.convolved_skips) for a, b in pairwise(widths)
        )
        self.last = ResidualBlock(widths[-1], widths[-1], cfg.norm)
        side = cfg.image_size // 2 ** len(widths)
        self.head = nn.Linear(widths[-1] * side**2, 2 * cfg.latent_dim)

    def forward(self, x: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        x = F.avg_pool2d(F.leaky_relu(self.stem_norm(self.stem(x)), _SLOPE), 2)
        for block in self.blocks:
            x = F.avg_pool2d(block(x), 2)
        mean, log_variance = self.head(self.last(x).flatten(1)).chunk(2, -1)
        return mean, log_variance


class ImageDecoder(nn.Module):
    """No activation at the end: pixels may leave [0, 1]."""

    def __init__(self, cfg: ImageConfig) -> None:
        super().__init__()
        widths = cfg.channels[::-1]
        self.side = cfg.image_size // 2 ** len(widths)
        self.seed = nn.Linear(cfg.latent_dim, widths[0] * self.side**2)
        self.blocks = nn.ModuleList([ResidualBlock(widths[0], widths[0], cfg.norm)])
        self.blocks.extend(ResidualBlock(a, b, cfg.norm, cfg.convolved_skips) for a, b in pairwise(widths))
        self.last = ResidualBlock(widths[-1], widths[-1], cfg.norm)
        self.out = nn.Conv2d(widths[-1], cfg.image_channels, 5, padding=2)

    def forward(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B C H W"]:
        x = self.seed(z).relu().unflatten(1, (-1, self.side, self.side))
        for block in self.blocks:
            x = F.interpolate(block(x), scale_factor=2.0, mode="nearest")
        return self.out(self.last(x))


class ImageVAE(IntroVAE):
    """Images in [0, 1]. encoder: where it is not an `ImageEncoder`."""

    def __init__(self, cfg: SoftIntroConfig, own: ImageConfig, encoder: nn.Module | None = None) -> None:
        n_values = own.image_channels * own.image_size**2
        encoder = ImageEncoder(own) if encoder is None else encoder
        super().__init__(cfg, encoder, ImageDecoder(own), own.latent_dim, n_values)
        self.own = own

    @classmethod
    def build(cls, cfg: SoftIntroConfig) -> "ImageVAE":
        return cls(cfg, own_section(cfg.images, "images"))

    def shown(self, x: Float[Tensor, "B _ H W"]) -> Float[Tensor, "B C H W"]:
        return x.mean(1, keepdim=True) if self.own.image_channels == 1 else x

    def error(self, x: Float[Tensor, "B C H W"], drawn: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
        return pixel_error(self.own.error, x, drawn).flatten(1).sum(1)


def pixel_error(kind: str, x: Tensor, drawn: Tensor) -> Tensor:
    """Of each number."""
    if kind == "mse":
        return (x - drawn).square()
    if kind == "l1":
        return (x - drawn).abs()
    with torch.autocast(x.device.type, enabled=False):
        return F.binary_cross_entropy(drawn, x, reduction="none")
