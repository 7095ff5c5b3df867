"""DLPv1's networks: convolutions with batch norm, and a PointNet++ on a dense graph of nearest particles."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dlp_dyn.image.keypoint_vae.config import SEED_SIDE
from dlp_dyn.nn import mlp

_STD = 0.01  # of initial kernels
_NEIGHBOURS = 10  # of a node, itself included
_GRAPH_WIDTHS = (64, 128, 256, 512)
_GLIMPSE_SEED = 32  # channels


def _kernel(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.normal_(conv.weight, 0.0, _STD)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class ConvBlock(nn.Sequential):
    """Convolution with replicate padding, batch norm and activation, then optional 2x bilinear upsampling."""

    def __init__(
        self,
        before: int,
        after: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        upsample: bool = False,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False, padding_mode="replicate")
        layers = [_kernel(conv), nn.BatchNorm2d(after), activation()]
        if upsample:
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
        super().__init__(*layers)


def keypoint_cnn(channels: Sequence[int], out: int, first_kernel: int = 3) -> nn.Sequential:
    """Images -> `out` maps, halved between the widths.

    As published, a width that comes a second time has no block of stride 1: its name was taken.
    """
    layers: list[nn.Module] = [
        ConvBlock(3, channels[0], first_kernel),
        ConvBlock(channels[0], channels[0]),
    ]
    seen: set[int] = set()
    for before, after in pairwise(channels):
        layers.append(ConvBlock(before, after, stride=2))
        if after not in seen:
            layers.append(ConvBlock(after, after))
        seen.add(after)
    return nn.Sequential(*layers, _kernel(nn.Conv2d(channels[-1], out, 1)))


def feature_mlp(n_in: int, n_out: int) -> nn.Sequential:
    return mlp([n_in, 256, 128, n_out], nn.ReLU)


def _grown(side: int) -> int:
    """How often the seed map is doubled to reach a side."""
    return int(math.log2(side // SEED_SIDE))


def nearest(position: Float[Tensor, "B N 2"]) -> Int[Tensor, "B N k"]:
    """Each node's nearest nodes, itself included; all of them where there are few."""
    distance = torch.cdist(position, position, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.topk(min(_NEIGHBOURS, position.shape[1]), largest=False).indices


class GraphLayer(nn.Module):
    """A node's new state: the largest message from its neighbours, of their states and where they lie from it."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.message = nn.Sequential(
            nn.Linear(before + 2, after),
            nn.BatchNorm1d(after),
            nn.ReLU(),
            nn.Linear(after, after),
            nn.BatchNorm1d(after),
        )

    def forward(
        self,
        nodes: Float[Tensor, "B N D"],
        position: Float[Tensor, "B N 2"],
        neighbours: Int[Tensor, "B N k"],
    ) -> Float[Tensor, "B N E"]:
        batch = torch.arange(len(nodes), device=nodes.device)[:, None, None]
        apart = position[batch, neighbours] - position[:, :, None]
        edges = torch.cat([nodes[batch, neighbours], apart], -1)
        messages = self.message(edges.flatten(0, 2)).view(*neighbours.shape, -1)  # norms run over all edges
        return messages.amax(2).relu()


class PointNet(nn.Module):
    """Particles -> feature maps of side `side`, whatever their order (PointNet++ with one level)."""

    def __init__(self, n_maps: int, feature_dim: int, side: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            GraphLayer(before, after) for before, after in pairwise((2 + feature_dim, *_GRAPH_WIDTHS))
        )
        self.seed = nn.Sequential(nn.Linear(_GRAPH_WIDTHS[-1], n_maps * SEED_SIDE**2), nn.ReLU())
        self.grow = nn.Sequential(
            *(ConvBlock(n_maps, n_maps, upsample=True, activation=nn.LeakyReLU) for _ in range(_grown(side)))
        )

    def forward(
        self, position: Float[Tensor, "B N 2"], features: Float[Tensor, "B N F"]
    ) -> Float[Tensor, "B M f f"]:
        """No gradient reaches positions."""
        position = position.detach()
        neighbours = nearest(position)
        nodes = torch.cat([position, features], -1)
        for layer in self.layers:
            nodes = layer(nodes, position, neighbours)
        seed = self.seed(nodes.amax(1))
        return self.grow(seed.view(len(seed), -1, SEED_SIDE, SEED_SIDE))


def image_decoder(in_channels: int, channels: Sequence[int], n_nodes: int) -> nn.Sequential:
    """Maps -> an image, doubled once for every width but the first; not squashed into [0, 1]."""
    widths = [in_channels, *reversed(channels[1:])]
    layers: list[nn.Module] = [
        ConvBlock(before, after, upsample=True, activation=nn.LeakyReLU) for before, after in pairwise(widths)
    ]
    last = n_nodes * (channels[0] // n_nodes + 1)
    layers.append(ConvBlock(widths[-1], last, activation=nn.LeakyReLU))
    return nn.Sequential(*layers, _kernel(nn.Conv2d(last, 3, 1)))


class GlimpseDecoder(nn.Module):
    """Features -> RGBA glimpses in [0, 1]."""

    def __init__(self, feature_dim: int, side: int) -> None:
        super().__init__()
        self.seed = nn.Sequential(
            nn.Linear(feature_dim, 256), nn.ReLU(), nn.Linear(256, _GLIMPSE_SEED * SEED_SIDE**2), nn.ReLU()
        )
        widths = [_GLIMPSE_SEED] + [64] * _grown(side)
        self.grow = nn.Sequential(
            *(ConvBlock(a, b, upsample=True, activation=nn.LeakyReLU) for a, b in pairwise(widths)),
            ConvBlock(64, 32, activation=nn.LeakyReLU),
            _kernel(nn.Conv2d(32, 4, 1)),
            nn.Sigmoid(),
        )

    def forward(self, features: Float[Tensor, "B N F"]) -> Float[Tensor, "B N 4 S S"]:
        seed = self.seed(features).view(-1, _GLIMPSE_SEED, SEED_SIDE, SEED_SIDE)
        return self.grow(seed).unflatten(0, features.shape[:2])
