"""Perceptrons and stacks of convolution layers."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from dlp_dyn.nn.chunks import n_chunks, works_in_chunks

Padding = Literal["zeros", "replicate"]


def mlp(
    widths: Sequence[int], activation: type[nn.Module] = nn.GELU, *, last_bias: bool = True
) -> nn.Sequential:
    """Linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(widths)):
        last = i == len(widths) - 2
        layers.append(nn.Linear(before, after, bias=last_bias or not last))
        if not last:
            layers.append(activation())
    return nn.Sequential(*layers)


class ConvLayer(nn.Module):
    """Convolution, then optional group norm, activation and 2x upsampling.

    `late_padding` pads only right and bottom, which the official DLPv3 does where it strides.
    `upsample="nearest"` happens before the convolution, `"bilinear"` after the activation.
    `init_std` draws the kernel from a normal of that width and sets the bias to 0; None is PyTorch's way.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        groups: int = 0,
        activation: type[nn.Module] | None = None,
        padding: Padding = "zeros",
        late_padding: bool = False,
        bias: bool = True,
        norm_eps: float = 1e-5,
        upsample: Literal["nearest", "bilinear"] | None = None,
        init_std: float | None = None,
    ) -> None:
        super().__init__()
        around = kernel // 2
        self.outside = (0, 1, 0, 1) if late_padding else (around,) * 4 if padding == "replicate" else (0,) * 4
        self.padding: Padding = padding
        self.upsample = upsample
        inside = 0 if any(self.outside) else around
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=inside, bias=bias)
        if init_std is not None:
            nn.init.normal_(self.conv.weight, 0.0, init_std)
            if self.conv.bias is not None:
                nn.init.zeros_(self.conv.bias)
        self.norm = nn.GroupNorm(groups, out_channels, eps=norm_eps) if groups else None
        self.activation = activation() if activation else None

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        if self.upsample == "nearest":
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        if any(self.outside):
            x = _pad(x, self.outside, self.padding)
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        if self.activation is not None:
            x = self.activation(x)
        if self.upsample == "bilinear":
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return x


def _pad(x: Tensor, sides: tuple[int, ...], how: Padding) -> Tensor:
    """sides: columns on the left and the right, rows on the top and the bottom."""
    if how == "zeros":
        return F.pad(x, sides)
    if not torch.compiler.is_compiling():
        return F.pad(x, sides, mode="replicate")
    # The compiler gives the gradient of "replicate" another layout than the operator has, and then stops at it.
    left, right, top, bottom = sides
    x = torch.cat([x[..., :1].expand(*x.shape[:3], left), x, x[..., -1:].expand(*x.shape[:3], right)], 3)
    width = x.shape[3]
    above, below = (
        row.expand(*x.shape[:2], n, width) for row, n in ((x[:, :, :1], top), (x[:, :, -1:], bottom))
    )
    return torch.cat([above, x, below], 2)


class Stack(nn.Sequential):
    """Layers in sequence, which treat every member of the batch by itself; on a CPU in chunks (`dlp_dyn.nn.chunks`).

    With `recompute`, only convolutions keep their outputs for backward. Norms, activations, padding and upsampling are
    computed again, which costs less time than the memory is worth.
    """

    recompute = False

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self._widest: dict[torch.Size, int] = {}

    def forward(self, input: Tensor) -> Tensor:
        n = n_chunks(len(input), self._width(input)) if works_in_chunks(input.device) else 1
        if n == 1:
            return self._run(input)
        return torch.cat([self._run(chunk) for chunk in input.tensor_split(n)])

    def _run(self, input: Tensor) -> Tensor:
        if not (self.recompute and torch.is_grad_enabled()):
            return super().forward(input)
        kept = partial(create_selective_checkpoint_contexts, [torch.ops.aten.convolution.default])
        with _uncached_autocast(input.device):  # weights cast before would be missing when layers run again
            again = checkpoint(
                super().forward, input, use_reentrant=False, preserve_rng_state=False, context_fn=kept
            )
        assert isinstance(again, Tensor)
        return again

    @torch.no_grad()
    def _width(self, input: Tensor) -> int:
        """Elements of the largest output of a layer for one member, found by running one member once."""
        shape = input.shape[1:]
        if shape not in self._widest:
            x, widest = input[:1].detach(), shape.numel()
            with _uncached_autocast(input.device):  # weights cast here have no gradient
                for layer in self:
                    x = layer(x)
                    widest = max(widest, x.shape[1:].numel())
            self._widest[shape] = widest
        return self._widest[shape]


def _uncached_autocast(device: torch.device) -> torch.autocast:
    """The autocast of now, or none, without its memory of cast weights."""
    kind = device.type
    enabled = torch.is_autocast_enabled(kind)
    return torch.autocast(kind, torch.get_autocast_dtype(kind), enabled=enabled, cache_enabled=False)


def zero_last(layers: nn.Sequential, bias: Sequence[float] | None = None) -> nn.Sequential:
    """Set the last linear layer to a constant: zero weights, and the given bias."""
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    if bias is not None:
        with torch.no_grad():
            last.bias.copy_(torch.tensor(bias))
    return layers


def layers_of(model: nn.Module, name: str) -> list[nn.Module]:
    """The layers of a named sequential submodule."""
    found = model.get_submodule(name)
    assert isinstance(found, nn.Sequential)
    return list(found)
