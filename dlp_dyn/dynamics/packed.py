"""Linear layers of a CPU rollout, whose weights are packed once and multiplied many times."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlp_dyn.nn.private import pack_weight, packed_linear, packs_linear

Activation = Literal["none", "gelu"]


def linear(layer: nn.Linear, x: Tensor, activation: Activation = "none") -> Tensor:
    """The layer, and an activation after it."""
    y = layer(x)
    return F.gelu(y) if activation == "gelu" else y


class PackedLinear:
    """`linear` with weights in the layout that oneDNN multiplies by, and the activation in the same pass.

    The BLAS behind `nn.Linear` may use half of a CPU's vector width (MKL on AMD does), oneDNN uses all of it: 2.2 times
    as fast there. Packed at first use: the weights may not change as long as this lives. Where there is nothing to
    gain (with gradients, on a GPU, in other precisions) it is `linear`.
    """

    def __init__(self) -> None:
        self._weights: dict[nn.Linear, Tensor] = {}

    def __call__(self, layer: nn.Linear, x: Tensor, activation: Activation = "none") -> Tensor:
        if not _packable(layer, x):
            return linear(layer, x, activation)
        if layer not in self._weights:
            self._weights[layer] = pack_weight(layer.weight)
        return packed_linear(x, self._weights[layer], layer.bias, activation)


def _packable(layer: nn.Linear, x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == layer.weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and packs_linear()
        and not torch.compiler.is_compiling()  # an exported program holds operators that others know
    )
