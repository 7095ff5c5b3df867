"""Lean, our own: an even-kernel strided stem, no layer at full resolution, pixel shuffle on the way up.

Even kernels with stride 2 keep cells centred on the pixels that they cover, so that crops of a feature map and
crops of the image speak of the same place.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn import geometry
from dlp_dyn.image.networks.base import GlimpseEncoder, ImageEncoder, Networks
from dlp_dyn.image.networks.sizes import (
    check_background_map,
    check_doubled_glimpse,
    check_image_token,
    check_least_glimpse,
    doublings,
)
from dlp_dyn.nn import Stack, mlp

_STRIDE = 4  # pixels of a cell of the trunk's map
_NEAR = 0.3  # how much first colours vary about the one that is asked for
_DISC = 6.0  # how sharp the first disc is, in logits


class LeanNetworks(Networks):
    """Proposals and a first look at the attributes share a trunk; a second look at the image refines them."""

    feature_stride = _STRIDE

    def check(self) -> None:
        n = self.cfg.networks
        check_least_glimpse(self.cfg, max(_STRIDE, 2 ** len(n.glimpse_channels)))
        check_doubled_glimpse(self.cfg, n.glimpse_start)
        check_background_map(self.cfg, 2 ** (len(self._background_widths) - 1), last_up_is_free=True)
        check_image_token(self.cfg, self._image_side**2)

    @property
    def _image_side(self) -> int:
        """Of the map that an image is read into; its first layer divides by 4."""
        return self.cfg.image_size // 2 ** (len(self.cfg.networks.background_channels) + 1)

    @property
    def _background_widths(self) -> list[int]:
        """Of the layers that draw the background, coarsest first."""
        return self.cfg.networks.background_channels[::-1][:2]

    def trunk(self) -> "Trunk":
        return Trunk(self.cfg.channels, self.cfg.networks.proposal_channels)

    def proposal_network(self) -> nn.Module:
        return nn.Conv2d(self.cfg.networks.proposal_channels[-1], 1, 1)

    def heat(self, network: nn.Module, source: Float[Tensor, "B C h w"]) -> Float[Tensor, "B M p p"]:
        """One layer on the features of the whole image, cut into patches."""
        return geometry.patches(network(source), self.cfg.patch_size // _STRIDE)[:, :, 0]

    def glimpse_encoder(self, in_channels: int = 3) -> GlimpseEncoder:
        n = self.cfg.networks
        side = self.cfg.glimpse_size // 2 ** len(n.glimpse_channels)
        cnn = encoder(in_channels, n.glimpse_channels, n.map_channels)
        return GlimpseEncoder(cnn, n.map_channels * side**2)

    def image_encoder(self, init_std: float | None = None) -> ImageEncoder:  # noqa: ARG002
        n = self.cfg.networks
        cnn = encoder(3, n.background_channels, n.map_channels, first_stride=4)
        return ImageEncoder(cnn, n.map_channels, self._image_side)

    def attribute_heads(
        self, flat: int, outputs: dict[str, int]
    ) -> tuple[nn.Module, dict[str, nn.Sequential]]:
        hidden = self.cfg.networks.hidden_dim
        shared = nn.Sequential(mlp([flat, hidden]), nn.GELU())
        return shared, {name: mlp([hidden, n]) for name, n in outputs.items()}

    def glimpse_decoder(self) -> "GlimpseDecoder":
        """RGBA glimpses, `draw_factor` times as fine as they are read."""
        n, side = self.cfg.networks, self.cfg.glimpse_size
        channels = n.glimpse_channels[::-1][: max(doublings(n.glimpse_start, side), 1)]
        side *= n.draw_factor
        last_up = side // (n.glimpse_start * 2 ** (len(channels) - 1))
        return GlimpseDecoder(self.cfg.feature_dim, n.hidden_dim, n.glimpse_start, channels, last_up, side)

    def background_decoder(self) -> "Decoder":
        n, channels = self.cfg.networks, self._background_widths
        last_up = self.cfg.image_size // (n.background_start * 2 ** (len(channels) - 1))
        return Decoder(self.cfg.background_dim, n.hidden_dim, n.background_start, channels, last_up, 3)


def _activated(*layers: nn.Module) -> list[nn.Module]:
    return [*layers, nn.GELU()]


def _groups(channels: int) -> int:
    return 4 if channels % 4 == 0 else 1


class Trunk(nn.Module):
    """Images (B, C, H, W) -> features (B, D, H / 4, W / 4), shared by proposals and attributes."""

    def __init__(self, in_channels: int, channels: list[int]) -> None:
        super().__init__()
        assert len(channels) >= 2, "the trunk halves twice"
        layers = _activated(nn.Conv2d(in_channels, channels[0], 4, stride=2, padding=1))
        layers += _activated(
            nn.Conv2d(channels[0], channels[1], 4, stride=2, padding=1),
            nn.GroupNorm(_groups(channels[1]), channels[1]),
        )
        for a, b in pairwise(channels[1:]):
            layers += _activated(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(_groups(b), b))
        self.cnn = Stack(*layers)
        self.channels = channels[-1]

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        return self.cnn(images)


def encoder(in_channels: int, channels: list[int], out: int, first_stride: int = 2) -> Stack:
    """Halve once for every entry (`first_stride` for the first), then a 1x1 convolution to `out` channels."""
    layers: list[nn.Module] = []
    before = in_channels
    for i, width in enumerate(channels):
        stride = first_stride if i == 0 else 2
        layers.append(nn.Conv2d(before, width, stride + 2, stride=stride, padding=1))
        if i > 0:
            layers.append(nn.GroupNorm(_groups(width), width))
        layers.append(nn.GELU())
        before = width
    return Stack(*layers, nn.Conv2d(before, out, 1))


class Decoder(nn.Module):
    """A vector to a `start` x `start` map by a perceptron, up by pixel shuffle, then a sigmoid.

    channels: of the map at every resolution, coarsest first. out: at the end, `last_up` times finer still.
    """

    def __init__(
        self, in_dim: int, hidden: int, start: int, channels: list[int], last_up: int, out: int
    ) -> None:
        super().__init__()
        self.start = start
        self.mlp = mlp([in_dim, hidden, channels[0] * start**2])
        layers: list[nn.Module] = []
        for a, b in pairwise(channels):
            layers += [nn.GELU(), nn.Conv2d(a, 4 * b, 1), nn.PixelShuffle(2), nn.Conv2d(b, b, 3, padding=1)]
            layers += [nn.GroupNorm(_groups(b), b)]
        layers += [
            nn.GELU(),
            nn.Conv2d(channels[-1], out * last_up**2, 3, padding=1),
            nn.PixelShuffle(last_up),
        ]
        self.cnn = Stack(*layers)

    @property
    def _last(self) -> nn.Conv2d:
        layer = self.cnn[-2]
        assert isinstance(layer, nn.Conv2d)
        return layer

    def start_from_zero(self) -> None:
        """Logits of 0 whatever the vector."""
        nn.init.zeros_(self._last.weight)
        assert self._last.bias is not None
        nn.init.zeros_(self._last.bias)

    def logits(self, vector: Float[Tensor, "B F"]) -> Float[Tensor, "B C S S"]:
        return self.cnn(self.mlp(vector).unflatten(-1, (-1, self.start, self.start)))

    def forward(self, vector: Float[Tensor, "B F"]) -> Float[Tensor, "B C S S"]:
        return self.logits(vector).sigmoid()


class GlimpseDecoder(Decoder):
    """RGBA glimpses whose alpha starts as a soft disc.

    A glimpse that starts as a disc is drawn to the middle of an object by its position; one that starts as a square
    learns to draw the object off its centre first, and keeps doing so.
    """

    def __init__(
        self, in_dim: int, hidden: int, start: int, channels: list[int], last_up: int, side: int
    ) -> None:
        super().__init__(in_dim, hidden, start, channels, last_up, out=4)
        u = torch.linspace(-1, 1, side)
        disc = _DISC * (0.5 - u[:, None].square() - u.square())
        self.alpha = nn.Parameter(disc)

    @torch.no_grad()
    def start_from(self, colour: Float[Tensor, " 3"]) -> None:
        """Near one colour, in [0, 1], at first: one that is far from all that moves costs more than nothing drawn."""
        assert self._last.bias is not None
        rows = 3 * self._last.out_channels // 4  # pixels of a cell are channels of this layer
        self._last.bias[:rows] = colour.clamp(0.02, 0.98).logit().repeat_interleave(rows // 3)
        self._last.weight[:rows] *= _NEAR

    def forward(self, vector: Float[Tensor, "B F"]) -> Float[Tensor, "B 4 S S"]:
        logits = self.logits(vector)
        return torch.cat([logits[:, :3], logits[:, 3:] + self.alpha], dim=1).sigmoid()
