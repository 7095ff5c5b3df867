"""DLPv3: VQGAN-like stacks (lpwm, MIT)."""

from functools import partial

from torch import nn

from dlp_dyn.image.networks.base import FromVector, GlimpseEncoder, ImageEncoder, Networks
from dlp_dyn.image.networks.sizes import (
    check_background_map,
    check_doubled_glimpse,
    check_image_token,
    check_least_glimpse,
    doublings,
    refuse_lean_options,
)
from dlp_dyn.nn import ConvLayer, Padding, Stack, mlp

_STD, _BACKGROUND_STD = (
    0.02,
    0.005,
)  # of initial kernels; a smaller background lets the foreground learn first
_HEAT_WEIGHT = -0.02  # of the last layer of the proposals


class DLPv3Networks(Networks):
    """Every attribute has a perceptron of its own."""

    crops_move_anchors = True

    def check(self) -> None:
        n = self.cfg.networks
        refuse_lean_options(self.cfg)
        check_least_glimpse(self.cfg, 2)
        check_doubled_glimpse(self.cfg, n.glimpse_start)
        check_background_map(self.cfg, 2 ** (len(n.background_channels) - 1), last_up_is_free=False)
        check_image_token(self.cfg, self._image_side**2)

    @property
    def _image_side(self) -> int:
        """Of the map that an image is read into."""
        return self.cfg.image_size // 2 ** (len(self.cfg.networks.background_channels) - 1)

    def proposal_network(self) -> nn.Module:
        n = self.cfg.networks
        network = _encoder(n.stem_channels, n.proposal_channels, 1, "replicate")
        last = network[-1]
        assert isinstance(last, ConvLayer)
        nn.init.constant_(last.conv.weight, _HEAT_WEIGHT)
        return network

    def glimpse_encoder(self, in_channels: int = 3) -> GlimpseEncoder:
        n = self.cfg.networks
        assert in_channels == 3, "the published stem reads colours only"
        side = self.cfg.glimpse_size // 2 ** (len(n.glimpse_channels) - 1)
        cnn = _encoder(n.stem_channels, n.glimpse_channels, n.map_channels)
        return GlimpseEncoder(cnn, n.map_channels * side**2)

    def image_encoder(self, init_std: float | None = None) -> ImageEncoder:
        n, std = self.cfg.networks, _BACKGROUND_STD if init_std is None else init_std
        cnn = _encoder(n.stem_channels, n.background_channels, n.map_channels, init_std=std)
        return ImageEncoder(cnn, n.map_channels, self._image_side)

    def attribute_heads(
        self, flat: int, outputs: dict[str, int]
    ) -> tuple[nn.Module, dict[str, nn.Sequential]]:
        hidden = self.cfg.networks.hidden_dim
        heads = {
            name: mlp([flat, hidden, n], last_bias=name != "transparency") for name, n in outputs.items()
        }
        return nn.Identity(), heads

    def glimpse_decoder(self) -> nn.Module:
        n = self.cfg.networks
        levels = n.glimpse_channels[: doublings(n.glimpse_start, self.cfg.glimpse_size) + 1]
        return self._from_vector(self.cfg.feature_dim, n.glimpse_start, levels, 4, _STD)

    def background_decoder(self) -> nn.Module:
        n = self.cfg.networks
        return self._from_vector(
            self.cfg.background_dim, n.background_start, n.background_channels, 3, _BACKGROUND_STD
        )

    def _from_vector(self, dim: int, start: int, levels: list[int], out: int, init_std: float) -> FromVector:
        n = self.cfg.networks
        cnn = _decoder(n.map_channels, levels, out, init_std)
        return FromVector([dim, n.hidden_dim, n.map_channels * start**2], nn.GELU, start, cnn)


def _encoder(
    stem: int, levels: list[int], out: int, padding: Padding = "zeros", init_std: float = _STD
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


def _decoder(in_channels: int, levels: list[int], out: int, init_std: float) -> Stack:
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
