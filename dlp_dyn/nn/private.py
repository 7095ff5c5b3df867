"""Names that torch and its companions keep to themselves, gathered: what to look at when one of them is upgraded.

`tests/test_private_names.py` fails where one is gone or does something else.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


def dirichlet(
    concentration: Float[Tensor, "*B K"], generator: torch.Generator | None
) -> Float[Tensor, "*B K"]:
    """A draw of a Dirichlet distribution from a generator, which the public one does not take."""
    return torch._sample_dirichlet(concentration, generator)  # pyright: ignore[reportPrivateImportUsage]


def lerp_(targets: Sequence[Tensor], values: Sequence[Tensor], weight: float) -> None:
    """Move all tensors towards others in one fused call: one by one, launches cost more than a step on a GPU."""
    torch._foreach_lerp_(list(targets), list(values), weight)  # pyright: ignore[reportPrivateImportUsage]


def packs_linear() -> bool:
    """Whether this build of torch has oneDNN's packed linear layers."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def pack_weight(weight: Float[Tensor, "O I"]) -> Tensor:
    """A weight in the layout that oneDNN multiplies by."""
    return torch.ops.mkldnn._reorder_linear_weight(weight)


def packed_linear(
    x: Float[Tensor, "*B I"], packed: Tensor, bias: Tensor | None, activation: Literal["none", "gelu"]
) -> Float[Tensor, "*B O"]:
    """A linear layer of a packed weight, and an activation in the same pass; GELU is the exact one, by erf."""
    algorithm = "none" if activation == "gelu" else ""
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, activation, [], algorithm)


def lpips(backbone: Literal["vgg", "alex"]) -> nn.Module:
    """LPIPS as a network of pairs of images; the public metric keeps sums over calls."""
    from torchmetrics.functional.image.lpips import _LPIPS  # takes seconds to import

    return _LPIPS(pretrained=True, net=backbone)


def forget_accelerator(processes: bool) -> None:
    """Let go of the settings that accelerate keeps for the life of a process. processes: of its process group too."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=processes)
