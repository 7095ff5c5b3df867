"""Layers of ALAE's networks (CVPR 2020): weights of unit spread times a constant, blur, and fused changes of side."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

SLOPE = 0.2
_KERNEL = 3
_LEAST = 1e-12  # variance: the root of a flat map has no gradient

Features = Float[Tensor, "B C H W"]


class ScaledLinear(nn.Module):
    """A layer whose weights all learn at one pace, whatever its width: of unit spread, times gain / sqrt(inputs).

    pace: factor of learning rates. The published optimiser multiplies steps by those constants; this is the same.
    """

    def __init__(self, before: int, after: int, gain: float = math.sqrt(2), pace: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before) / pace)
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale, self.pace = gain * pace / math.sqrt(before), pace

    def forward(self, x: Float[Tensor, "*B I"]) -> Float[Tensor, "*B O"]:
        return F.linear(x, self.scale * self.weight, self.pace * self.bias)


class ScaledConv(nn.Module):
    """A convolution as `ScaledLinear`, that keeps, halves or doubles the side.

    resize: 2 doubles, 0.5 halves. fused: kernel and change of side are one operation.
    """

    def __init__(
        self,
        before: int,
        after: int,
        kernel: int = _KERNEL,
        gain: float = math.sqrt(2),
        bias: bool = False,
        resize: float = 1.0,
        fused: bool = False,
    ) -> None:
        super().__init__()
        transposed = fused and resize == 2
        shape = (before, after) if transposed else (after, before)
        self.weight = nn.Parameter(torch.randn(*shape, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after)) if bias else None
        self.scale = gain / math.sqrt(before * kernel**2)
        self.resize, self.fused, self.padding = resize, fused, kernel // 2

    def forward(self, x: Features) -> Float[Tensor, "B D h w"]:
        weight = self.scale * self.weight
        if self.resize == 1:
            return F.conv2d(x, weight, self.bias, padding=self.padding)
        if self.resize == 2:
            if self.fused:
                return F.conv_transpose2d(x, _four_shifts(weight), self.bias, stride=2, padding=1)
            return F.conv2d(F.interpolate(x, scale_factor=2.0), weight, self.bias, padding=self.padding)
        if self.fused:
            return F.conv2d(x, _four_shifts(weight) / 4, self.bias, stride=2, padding=1)
        return F.avg_pool2d(F.conv2d(x, weight, self.bias, padding=self.padding), 2)


def _four_shifts(kernel: Float[Tensor, "A B 3 3"]) -> Float[Tensor, "A B 4 4"]:
    """A kernel and its copies moved by a pixel right, down and both, added up."""
    wide = F.pad(kernel, (1, 1, 1, 1))
    return wide[..., 1:, 1:] + wide[..., :-1, 1:] + wide[..., 1:, :-1] + wide[..., :-1, :-1]


def blur(x: Features) -> Features:
    """Binomial, 3 x 3, zeros around."""
    line = x.new_tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def blended(old: Features, new: Features, share: Float[Tensor, ""]) -> Features:
    """A share of the new and the rest of the old, in the wider of their precisions."""
    return old + share * (new - old)


def statistics(x: Features) -> Float[Tensor, "B D"]:
    """Mean and spread of every map."""
    return torch.cat([x.mean((2, 3)), x.var((2, 3), correction=0).clamp_min(_LEAST).sqrt()], 1)


def noise_bump(x: Features, level: int) -> Features:
    """What stands for added noise where there shall be none: a pull away from 0 that fades with distance."""
    variance = level + 1.0
    bump = torch.exp(-x.square() / (2 * variance)) / math.sqrt(2 * math.pi)
    return x + 0.8 * math.sqrt(variance) * bump
