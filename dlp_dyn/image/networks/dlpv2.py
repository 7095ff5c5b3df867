"""DLPv2 and DDLP: replicate padding, a full-resolution stem, norm and ReLU after every convolution (ddlp, MIT)."""

import math
from itertools import pairwise

from torch import nn

from dlp_dyn.image.networks.base import FromVector, GlimpseEncoder, ImageEncoder, Networks
from dlp_dyn.image.networks.sizes import (
    check_doubled_glimpse,
    check_least_glimpse,
    doublings,
    refuse_lean_options,
)
from dlp_dyn.nn import ConvLayer, Stack, mlp

_STD = 0.01  # of initial kernels
_START = 8  # side of the maps that glimpses and background are drawn from
_WIDTHS = [256, 256, 32 * _START**2]  # of the perceptrons to those maps


class DLPv2Networks(Networks):
    """Attributes start anywhere: the noisy first phase of training brings them to their place and size."""

    starts_at_prior = False
    crops_change_scale = False

    def check(self) -> None:
        refuse_lean_options(self.cfg)
        check_least_glimpse(self.cfg, 2)
        check_doubled_glimpse(self.cfg, _START, remedy="change one of them")

    def proposal_network(self) -> nn.Module:
        return self._encoder(3, self.cfg.networks.proposal_channels, 1)

    def glimpse_encoder(self, in_channels: int = 3) -> GlimpseEncoder:
        n = self.cfg.networks
        cnn = self._encoder(in_channels, n.proposal_channels, n.map_channels)
        side = _halve(self.cfg.glimpse_size, len(n.proposal_channels) - 1)
        return GlimpseEncoder(cnn, n.map_channels * side**2)

    def image_encoder(self, init_std: float | None = None) -> ImageEncoder:  # noqa: ARG002
        n = self.cfg.networks
        cnn = self._encoder(3, n.background_channels, n.map_channels, first_kernel=7)
        return ImageEncoder(cnn, n.map_channels, _halve(self.cfg.image_size, len(n.background_channels) - 1))

    def attribute_heads(
        self, flat: int, outputs: dict[str, int]
    ) -> tuple[nn.Module, dict[str, nn.Sequential]]:
        shared = nn.Sequential(nn.Linear(flat, 256), mlp([256, 256, 256], nn.ReLU), nn.ReLU())
        return shared, {name: mlp([256, n]) for name, n in outputs.items()}

    def appearance_head(self, flat: int, n_out: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(flat, 256), mlp([256, 256, 256], nn.ReLU), nn.ReLU(), nn.Linear(256, n_out)
        )

    def background_head(self, flat: int, n_out: int) -> nn.Module:
        return mlp([flat, 256, 256, n_out], nn.ReLU)

    def glimpse_decoder(self) -> nn.Module:
        widths = [32] + [64] * doublings(_START, self.cfg.glimpse_size)
        ups = [_layer(a, b, upsample="bilinear") for a, b in pairwise(widths)]
        cnn = Stack(*ups, _layer(widths[-1], 32), ConvLayer(32, 4, 1, init_std=_STD))
        return FromVector([self.cfg.feature_dim, *_WIDTHS], nn.ReLU, _START, cnn)

    def background_decoder(self) -> nn.Module:
        c = self.cfg.networks.background_channels
        coarse = self.cfg.image_size // 2 ** (len(c) - 1)
        ups = [_layer(32, 32, upsample="bilinear") for _ in range(doublings(_START, coarse))]
        first = _layer(32, c[-1], groups=0, upsample="bilinear")
        rest = [_layer(a, b, upsample="bilinear") for a, b in zip(c[:1:-1], c[-2:0:-1], strict=True)]
        cnn = Stack(*ups, first, *rest, _layer(c[1], c[0]), ConvLayer(c[0], 3, 1, init_std=_STD))
        return FromVector([self.cfg.background_dim, *_WIDTHS], nn.ReLU, _START, cnn)

    def _encoder(self, in_channels: int, channels: list[int], out: int, first_kernel: int = 3) -> Stack:
        """The keypoint network: a layer that halves and one that does not for every width after the first."""
        layers = [_layer(in_channels, channels[0], first_kernel), _layer(channels[0], channels[0])]
        seen: set[int] = set()
        for before, after in pairwise(channels):
            layers.append(_layer(before, after, stride=2))
            if not (self.cfg.compat.merge_repeated_widths and after in seen):
                layers.append(_layer(after, after))
            seen.add(after)
        return Stack(*layers, ConvLayer(channels[-1], out, 1, init_std=_STD))


def _layer(a: int, b: int, kernel: int = 3, **options) -> ConvLayer:
    options = {"groups": 4 if b % 4 == 0 else 5, "activation": nn.ReLU, **options}
    return ConvLayer(a, b, kernel, padding="replicate", bias=False, norm_eps=1e-4, init_std=_STD, **options)


def _halve(side: int, times: int) -> int:
    for _ in range(times):
        side = math.ceil(side / 2)
    return side
