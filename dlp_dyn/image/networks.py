"""The convolutional networks of the image model, in three styles.

`dlpv2`: replicate padding, a full-resolution stem, norm and ReLU after every convolution (ddlp, MIT).
`dlpv3`: VQGAN-like stacks (lpwm, MIT). `lean`: `dlp_dyn.image.lean`.
"""

import math
from functools import partial
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.image import lean
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.nn import ConvLayer, Padding, Stack, mlp

_GLIMPSE_CHANNELS = 4  # RGBA
_DLPV2_STD = 0.01  # of initial kernels
_DLPV3_STD, _DLPV3_BACKGROUND_STD = 0.02, 0.005  # a smaller background lets the foreground learn first


def _dlpv2_stack(
    cfg: DLPConfig, in_channels: int, channels: list[int], out: int, first_kernel: int = 3
) -> Stack:
    def layer(a: int, b: int, kernel: int = 3, stride: int = 1) -> ConvLayer:
        return _dlpv2_layer(a, b, kernel, stride=stride)

    layers = [layer(in_channels, channels[0], first_kernel), layer(channels[0], channels[0])]
    seen: set[int] = set()
    for before, after in pairwise(channels):
        layers.append(layer(before, after, stride=2))
        if not (cfg.compat.merge_repeated_widths and after in seen):
            layers.append(layer(after, after))
        seen.add(after)
    return Stack(*layers, ConvLayer(channels[-1], out, 1, init_std=_DLPV2_STD))


def _dlpv2_layer(a: int, b: int, kernel: int = 3, **options) -> ConvLayer:
    options = {"groups": 4 if b % 4 == 0 else 5, "activation": nn.ReLU, **options}
    return ConvLayer(
        a, b, kernel, padding="replicate", bias=False, norm_eps=1e-4, init_std=_DLPV2_STD, **options
    )


def _dlpv3_encoder(
    stem: int, levels: list[int], out: int, padding: Padding = "zeros", init_std: float = _DLPV3_STD
) -> Stack:
    layer = partial(ConvLayer, padding=padding, init_std=init_std)
    layers = [layer(3, stem)]
    before = stem
    for i, width in enumerate(levels):
        layers.append(layer(before, width, groups=4, activation=nn.GELU))
        if i < len(levels) - 1:
            layers.append(layer(width, width, stride=2, late_padding=True))
        before = width
    return Stack(*layers, layer(before, out))


def _dlpv3_decoder(in_channels: int, levels: list[int], out: int, init_std: float) -> Stack:
    layer = partial(ConvLayer, padding="replicate", init_std=init_std)
    block = partial(layer, groups=4, activation=nn.GELU)
    layers = [layer(in_channels, levels[-1])]
    before = levels[-1]
    for i, width in reversed(list(enumerate(levels))):
        layers += [block(before, width), block(width, width)]
        if i > 0:
            layers.append(layer(width, width, upsample="nearest"))
        before = width
    return Stack(*layers, layer(before, out))


def proposal_network(cfg: DLPConfig) -> nn.Module:
    """Published styles: patches (B, 3, P, P) -> one heat map each (B, 1, h, w)."""
    n = cfg.networks
    if n.style == "dlpv2":
        return _dlpv2_stack(cfg, 3, n.proposal_channels, 1)
    if n.style == "dlpv3":
        network = _dlpv3_encoder(n.stem_channels, n.proposal_channels, 1, "replicate")
        last = network[-1]
        assert isinstance(last, ConvLayer)
        nn.init.constant_(last.conv.weight, -0.02)
        return network
    raise AssertionError("the lean style reads its proposals off the trunk")


class GlimpseEncoder(nn.Module):
    """Glimpses (B, C, S, S) -> flat features (B, `out_dim`)."""

    def __init__(self, cfg: DLPConfig, in_channels: int = 3) -> None:
        super().__init__()
        n, side = cfg.networks, cfg.glimpse_size
        levels = len(n.glimpse_channels)
        if n.style == "dlpv2":
            self.cnn = _dlpv2_stack(cfg, in_channels, n.proposal_channels, n.map_channels)
            side = _halve(side, len(n.proposal_channels) - 1)
        elif n.style == "dlpv3":
            self.cnn = _dlpv3_encoder(n.stem_channels, n.glimpse_channels, n.map_channels)
            side = side // 2 ** (levels - 1)
        else:
            self.cnn = lean.encoder(in_channels, n.glimpse_channels, n.map_channels)
            side //= 2**levels
        self.out_dim = n.map_channels * side * side

    def forward(self, glimpses: Float[Tensor, "B C S S"]) -> Float[Tensor, "B D"]:
        return self.cnn(glimpses).flatten(1)


def _halve(side: int, times: int) -> int:
    for _ in range(times):
        side = math.ceil(side / 2)
    return side


class ImageEncoder(nn.Module):
    """Whole images (B, 3, H, W) -> a coarse map (B, `channels`, `side`, `side`)."""

    def __init__(self, cfg: DLPConfig, init_std: float = _DLPV3_BACKGROUND_STD) -> None:
        super().__init__()
        n, side = cfg.networks, cfg.image_size
        self.channels = n.map_channels
        levels = len(n.background_channels)
        if n.style == "dlpv2":
            self.cnn = _dlpv2_stack(cfg, 3, n.background_channels, n.map_channels, 7)
            self.side = _halve(side, levels - 1)
        elif n.style == "dlpv3":
            self.cnn = _dlpv3_encoder(
                n.stem_channels, n.background_channels, n.map_channels, init_std=init_std
            )
            self.side = side // 2 ** (levels - 1)
        else:
            self.cnn = lean.encoder(3, n.background_channels, n.map_channels, first_stride=4)
            self.side = side // 2 ** (levels + 1)

    @property
    def out_dim(self) -> int:
        return self.channels * self.side**2

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h h"]:
        return self.cnn(images)


class _FromVector(nn.Module):
    """A vector to a small map by a perceptron, then convolutions up to the image, then a sigmoid."""

    def __init__(self, widths: list[int], activation: type[nn.Module], start: int, cnn: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp(widths, activation)
        self.last_activation = activation() if activation is nn.ReLU else nn.Identity()
        self.start = start
        self.cnn = cnn

    def forward(self, vector: Float[Tensor, "B F"]) -> Float[Tensor, "B C S S"]:
        flat = self.last_activation(self.mlp(vector))
        return self.cnn(flat.unflatten(-1, (-1, self.start, self.start))).sigmoid()


def _doublings(start: int, end: int) -> int:
    times = round(math.log2(end / start))
    assert start * 2**times == end, f"{end} is not {start} doubled"
    return times


def glimpse_decoder(cfg: DLPConfig) -> nn.Module:
    """Features (B, F) -> RGBA glimpses (B, 4, S, S) in [0, 1]; in the lean style `draw_factor` times as fine."""
    n, side, features = cfg.networks, cfg.glimpse_size, cfg.feature_dim
    if n.style == "dlpv2":
        widths = [32] + [64] * _doublings(8, side)
        ups = [_dlpv2_layer(a, b, upsample="bilinear") for a, b in pairwise(widths)]
        cnn = Stack(
            *ups, _dlpv2_layer(widths[-1], 32), ConvLayer(32, _GLIMPSE_CHANNELS, 1, init_std=_DLPV2_STD)
        )
        return _FromVector([features, 256, 256, 2048], nn.ReLU, 8, cnn)
    start = n.glimpse_start
    times = _doublings(start, side)
    if n.style == "dlpv3":
        cnn = _dlpv3_decoder(n.map_channels, n.glimpse_channels[: times + 1], _GLIMPSE_CHANNELS, _DLPV3_STD)
        return _FromVector([features, n.hidden_dim, n.map_channels * start**2], nn.GELU, start, cnn)
    channels = n.glimpse_channels[::-1][: max(times, 1)]
    side *= n.draw_factor
    last_up = side // (start * 2 ** (len(channels) - 1))
    return lean.GlimpseDecoder(features, n.hidden_dim, start, channels, last_up, side)


def background_decoder(cfg: DLPConfig) -> nn.Module:
    """Background vectors (B, G) -> images (B, 3, H, W) in [0, 1]."""
    n, side, features = cfg.networks, cfg.image_size, cfg.background_dim
    if n.style == "dlpv2":
        c = n.background_channels
        coarse = side // 2 ** (len(c) - 1)
        ups = [_dlpv2_layer(32, 32, upsample="bilinear") for _ in range(_doublings(8, coarse))]
        first = _dlpv2_layer(32, c[-1], groups=0, upsample="bilinear")
        rest = [_dlpv2_layer(a, b, upsample="bilinear") for a, b in zip(c[:1:-1], c[-2:0:-1], strict=True)]
        cnn = Stack(*ups, first, *rest, _dlpv2_layer(c[1], c[0]), ConvLayer(c[0], 3, 1, init_std=_DLPV2_STD))
        return _FromVector([features, 256, 256, 2048], nn.ReLU, 8, cnn)
    start = n.background_start
    if n.style == "dlpv3":
        cnn = _dlpv3_decoder(n.map_channels, n.background_channels, 3, _DLPV3_BACKGROUND_STD)
        return _FromVector([features, n.hidden_dim, n.map_channels * start**2], nn.GELU, start, cnn)
    channels = n.background_channels[::-1][:2]
    return lean.Decoder(
        features, n.hidden_dim, start, channels, side // (start * 2 ** (len(channels) - 1)), 3
    )
