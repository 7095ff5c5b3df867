"""Images drawn by styles, grown from 4 pixels to their full side (Soft-IntroVAE's style variant; ALAE, CVPR 2020)."""

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.errors import InputError
from dlp_dyn.soft_intro.config import SoftIntroConfig, StyleConfig, own_section
from dlp_dyn.soft_intro.model import IntroVAE
from dlp_dyn.soft_intro.style_layers import (
    SLOPE,
    Features,
    ScaledConv,
    ScaledLinear,
    blended,
    blur,
    noise_bump,
    statistics,
)

_START = 4  # pixels
_MAPPING_PACE = 0.1
_RGB_GAIN = 0.03
_MEAN_DECAY = 0.995

Images = Float[Tensor, "B 3 S S"]


class EncodeBlock(nn.Module):
    """Halves the side; what it takes away by normalising, it gives as styles."""

    def __init__(self, before: int, after: int, latent_dim: int, fused: bool) -> None:
        super().__init__()
        self.conv_1 = ScaledConv(before, before)
        self.bias_1 = nn.Parameter(torch.zeros(1, before, 1, 1))
        self.style_1 = ScaledLinear(2 * before, latent_dim)
        self.conv_2 = ScaledConv(before, after, resize=0.5, fused=fused)
        self.bias_2 = nn.Parameter(torch.zeros(1, after, 1, 1))
        self.style_2 = ScaledLinear(2 * after, latent_dim)

    def forward(self, x: Features) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B Z"]]:
        x = F.leaky_relu(self.conv_1(x) + self.bias_1, SLOPE)
        style = self.style_1(statistics(x))
        x = F.leaky_relu(self.conv_2(blur(F.instance_norm(x))) + self.bias_2, SLOPE)
        return F.instance_norm(x), style + self.style_2(statistics(x))


class StyleEncoder(nn.Module):
    """The sum of styles of all blocks from the image's side down to 4 pixels, mapped to a posterior."""

    blend: Tensor

    def __init__(self, cfg: StyleConfig) -> None:
        super().__init__()
        n, fused = cfg.n_levels, [cfg.image_size // 2**i >= cfg.fused_from for i in range(cfg.n_levels)]
        widths = [cfg.channels(n - 1 - i) for i in range(n + 1)]
        self.from_rgb = nn.ModuleList(ScaledConv(3, width, 1, bias=True) for width in widths[:n])
        self.blocks = nn.ModuleList(
            EncodeBlock(widths[i], widths[i + 1], cfg.latent_dim, fused[i]) for i in range(n)
        )
        mapped = [cfg.latent_dim] * cfg.n_encoder_mapping + [2 * cfg.latent_dim]
        self.mapping = nn.ModuleList(ScaledLinear(a, b, pace=_MAPPING_PACE) for a, b in pairwise(mapped))
        self.register_buffer("blend", torch.ones(()))  # share of the newest side

    def forward(self, x: Images) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Images in [0, 1], 4 to full side."""
        x = 2 * x - 1
        first = len(self.blocks) - (x.shape[-1] // _START).bit_length()
        features, style = self.blocks[first](self._coloured(first, x))
        if first + 1 < len(self.blocks) and self.blend < 1:
            smaller = self._coloured(first + 1, F.avg_pool2d(x, 2))
            features, style = blended(smaller, features, self.blend), style * self.blend
        for block in self.blocks[first + 1 :]:
            features, more = block(features)
            style = style + more
        for layer in self.mapping:
            style = F.leaky_relu(layer(style), SLOPE)  # the last too: log-variances below 0 count a fifth
        mean, log_variance = style.chunk(2, -1)
        return mean, log_variance

    def _coloured(self, block: int, x: Images) -> Features:
        return F.leaky_relu(self.from_rgb[block](x), SLOPE**2)  # as published: rectified twice


class Dressing(nn.Module):
    """Noise over features, and a style for them: the spread and the mean of every map."""

    def __init__(self, width: int, latent_dim: int, level: int) -> None:
        super().__init__()
        self.level = level
        self.noise_weight = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.style = ScaledLinear(latent_dim, 2 * width, gain=1.0)

    def forward(
        self, x: Features, style: Float[Tensor, "B Z"], noise: Float[Tensor, "B 1 H W"] | None
    ) -> Features:
        x = noise_bump(x, self.level) if noise is None else x + self.noise_weight * noise
        x = F.leaky_relu(x + self.bias, SLOPE)
        scale, shift = self.style(style)[..., None, None].chunk(2, 1)
        return F.instance_norm(x, eps=1e-8) * (1 + scale) + shift


class DrawBlock(nn.Module):
    """Doubles the side, but for the first; two layers, each dressed."""

    def __init__(self, before: int, after: int, latent_dim: int, level: int, fused: bool) -> None:
        super().__init__()
        self.conv_1 = ScaledConv(before, after, resize=2, fused=fused) if level else None
        self.dressing_1 = Dressing(after, latent_dim, level)
        self.conv_2 = ScaledConv(after, after)
        self.dressing_2 = Dressing(after, latent_dim, level)

    def forward(
        self, x: Features, styles: Float[Tensor, "B 2 Z"], noise: Float[Tensor, "2 B 1 S S"] | None
    ) -> Float[Tensor, "B D S S"]:
        if self.conv_1 is not None:
            x = blur(self.conv_1(x))
        first, second = (None, None) if noise is None else noise
        x = self.dressing_1(x, styles[:, 0], first)
        return self.dressing_2(self.conv_2(x), styles[:, 1], second)


class StyleDecoder(nn.Module):
    """A latent, or one for each of the two styles of every side, drawn from 4 pixels on. Noise in training alone."""

    level: Tensor
    blend: Tensor
    mean_style: Tensor

    def __init__(self, cfg: StyleConfig) -> None:
        super().__init__()
        widths = [cfg.channels(level) for level in range(cfg.n_levels)]
        sides = [_START * 2**level for level in range(cfg.n_levels)]
        self.mapping = nn.ModuleList(
            ScaledLinear(cfg.latent_dim, cfg.latent_dim, pace=_MAPPING_PACE) for _ in range(cfg.n_mapping)
        )
        self.start = nn.Parameter(torch.ones(1, widths[0], _START, _START))
        self.blocks = nn.ModuleList(
            DrawBlock(widths[max(i - 1, 0)], width, cfg.latent_dim, i, sides[i] >= cfg.fused_from)
            for i, width in enumerate(widths)
        )
        self.to_rgb = nn.ModuleList(ScaledConv(width, 3, 1, _RGB_GAIN, bias=True) for width in widths)
        self.register_buffer("level", torch.tensor(cfg.n_levels - 1))
        self.register_buffer("blend", torch.ones(()))
        self.register_buffer("mean_style", torch.zeros(2 * cfg.n_levels, cfg.latent_dim))

    def forward(self, z: Float[Tensor, "B *S Z"]) -> Images:
        styles = self.styles(z)
        if styles.ndim == 2:
            styles = styles[:, None].expand(-1, 2 * len(self.blocks), -1)
        if self.training:
            self.mean_style.lerp_(styles[:, :1].detach().mean(0).to(self.mean_style), 1 - _MEAN_DECAY)
        return self.draw(styles)

    def styles(self, z: Float[Tensor, "B *S Z"]) -> Float[Tensor, "B *S Z"]:
        style = z * torch.rsqrt(z.square().mean(-1, keepdim=True) + 1e-8)
        for layer in self.mapping:
            style = F.leaky_relu(layer(style), SLOPE)
        return style

    def draw(self, styles: Float[Tensor, "B T Z"]) -> Images:
        """In [0, 1] or a little beyond. styles: two for each side, 4 pixels first."""
        level, x = int(self.level), self.start.expand(len(styles), -1, -1, -1)
        before = x  # what the level below was drawn from
        for i, block in enumerate(self.blocks[: level + 1]):
            before = x
            noise = self.noise(len(x), _START * 2**i) if self.training else None
            x = block(x, styles[:, 2 * i : 2 * i + 2], noise)
        drawn = self.to_rgb[level](x)
        if level and self.blend < 1:
            smaller = F.interpolate(self.to_rgb[level - 1](before), scale_factor=2.0)
            drawn = blended(smaller, drawn, self.blend)
        return (drawn + 1) / 2

    def noise(self, n: int, side: int) -> Float[Tensor, "2 {n} 1 {side} {side}"]:
        """For both layers of a block."""
        return torch.randn(2, n, 1, side, side, device=self.start.device)


class StyleVAE(IntroVAE):
    """Images in [0, 1], of the side to which it has grown."""

    encoder: StyleEncoder
    decoder: StyleDecoder

    def __init__(self, cfg: SoftIntroConfig, own: StyleConfig) -> None:
        super().__init__(cfg, StyleEncoder(own), StyleDecoder(own), own.latent_dim, 3 * own.image_size**2)
        self.own = own
        if own.grow_every:
            self.grow(0, 1.0)

    @classmethod
    def build(cls, cfg: SoftIntroConfig) -> "StyleVAE":
        return cls(cfg, own_section(cfg.style, "style"))

    def grow(self, level: int, blend: float) -> None:
        """To side 4 * 2^level, of which a share of blend is in force."""
        self.decoder.level.fill_(level)
        self.decoder.blend.fill_(blend)
        self.encoder.blend.fill_(blend)

    def at_step(self, step: int) -> None:
        super().at_step(step)
        if self.own.grow_every:
            level = min((step - 1) // self.own.grow_every, self.own.n_levels - 1)
            faded = 2 * (step - 1 - level * self.own.grow_every) / self.own.grow_every
            fades = level > 0 and faded < 1
            self.grow(level, 0.5 - 0.5 * math.cos(math.pi * faded) if fades else 1.0)

    def shown(self, x: Images) -> Float[Tensor, "B 3 T T"]:
        """Images at the side to which it has grown, blended with their own half as the model is."""
        side = _START * 2 ** int(self.decoder.level)
        x = F.adaptive_avg_pool2d(x, side)
        if side == _START or self.decoder.blend == 1:
            return x
        return blended(F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0), x, self.decoder.blend)

    def error(self, x: Images, drawn: Images) -> Float[Tensor, " B"]:
        """Summed squared differences as of images in [-1, 1]."""
        return 4 * super().error(x, drawn)

    def draw_prior(self, n: int, draw: Any) -> Tensor:
        """Latents, most of them for the coarser styles alone and others for the finer."""
        z = super().draw_prior(n, draw)
        first = self.finer_from()
        if first is None:
            return z
        return mixed(z, super().draw_prior(n, draw), first, 2 * self.own.n_levels)

    def finer_from(self) -> int | None:
        """From which style on samples of this batch take another latent; None for no mixing."""
        if not self.training or float(torch.rand(())) >= self.own.mixing:
            return None
        return int(torch.randint(1, 2 * (int(self.decoder.level) + 1), ()))

    @torch.no_grad()
    def mix(self, coarse: Images, fine: Images, first: int) -> Images:
        """Drawings with the styles of one set of images up to `first`, and of another from there on.

        Raises InputError where that leaves nothing to mix.
        """
        n_styles = 2 * self.own.n_levels
        if not 0 < first < n_styles:
            raise InputError(f"finer styles from {first} on: give 1 to {n_styles - 1}")
        return self.decode(mixed(self.encode(coarse).loc, self.encode(fine).loc, first, n_styles))

    @torch.no_grad()
    def sample_truncated(
        self, z: Float[Tensor, "B Z"], strength: float = 0.7, n_styles: int | None = None
    ) -> Images:
        """Drawings whose coarser styles are moved to their mean: less various, more typical.

        strength: 1 leaves them, 0 is the mean. n_styles: how many; None is all.
        """
        styles = self.decoder.styles(z)[:, None].expand(-1, 2 * self.own.n_levels, -1)
        moved = torch.lerp(self.decoder.mean_style.expand_as(styles), styles, strength)
        n = styles.shape[1] if n_styles is None else n_styles
        return self.decoder.draw(torch.cat([moved[:, :n], styles[:, n:]], 1))


def mixed(
    coarse: Float[Tensor, "B Z"], fine: Float[Tensor, "B Z"], first: int, n_styles: int
) -> Float[Tensor, "B {n_styles} Z"]:
    """A latent for every style: of one up to `first`, of the other from there on."""
    later = (torch.arange(n_styles, device=coarse.device) >= first)[:, None]
    return torch.where(later, fine[:, None], coarse[:, None])
