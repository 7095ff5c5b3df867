"""Weights in files: safetensors, in single or half precision; what is read back is single."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from dlp_dyn.errors import InputError, reading

FORMAT = "dlp_dyn checkpoint"
VERSION = "2"
READABLE = ("1", VERSION)  # weights are the same in both; 1 has other names of settings
WEIGHTS = "model.safetensors"


def to_bytes(weights: dict[str, Tensor], dtype: torch.dtype | None = None) -> bytes:
    """A safetensors file. dtype: of all floating weights, to make the file smaller; None keeps theirs.

    Networks may share a tensor, which safetensors refuses: hence copies.
    """
    tensors = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else None, copy=True).contiguous()
        for name, tensor in weights.items()
    }
    return safetensors_bytes(tensors, {"format": FORMAT, "version": VERSION})


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Weights of a checkpoint folder, on the CPU; float32 where they are stored in half precision.

    Raises InputError for files that are missing, damaged, of another kind or of another version.
    """
    file = folder / WEIGHTS
    tensors, metadata = read_tensors(file)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{file}: not a dlp_dyn checkpoint; import official ones with dlp-dyn convert")
    if metadata.get("version") not in READABLE:
        raise InputError(
            f"{file}: checkpoint format {metadata.get('version')}, this dlp_dyn reads {' and '.join(READABLE)}"
            "; install the dlp_dyn that wrote it, or train again"
        )
    return {name: _single(tensor) for name, tensor in tensors.items()}


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What a safetensors file holds, and what it says of itself. Raises InputError where it is missing or damaged."""
    with (
        reading(
            file, "damaged or cut short", "use another checkpoint of the run", safetensors.SafetensorError
        ),
        safetensors.safe_open(file, framework="pt") as stream,
    ):
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
        return tensors, stream.metadata() or {}


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _kind(tensor: Tensor | None) -> str:
    """Shape, and type where it is not a real number: another precision is converted."""
    if tensor is None:
        return ""
    return f"{tuple(tensor.shape)}" + ("" if tensor.is_floating_point() else f" {tensor.dtype}")


def load_into(
    model: torch.nn.Module,
    weights: Mapping[str, Tensor],
    source: Path,
    remedy: str = "use the dlp_dyn and config.yaml that the checkpoint was made with",
) -> None:
    """Copy weights into a model, or raise InputError naming the first one that does not fit or is no number."""
    expected = model.state_dict()
    for name in sorted(expected.keys() | weights.keys()):
        found, wanted = (_kind(tensors.get(name)) for tensors in (weights, expected))
        if found != wanted:
            raise InputError(
                f"{source}: weight '{name}' is {found or 'missing'}, the model has {wanted or 'none'}; {remedy}"
            )
        if not weights[name].isfinite().all():
            raise InputError(f"{source}: weight '{name}' holds NaN or infinity; use another checkpoint")
    model.load_state_dict(weights)
