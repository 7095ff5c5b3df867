"""Kernels for GPUs, each the same function as a plain one elsewhere, which stays its oracle and what a CPU uses.

The environment variable DLP_DYN_KERNELS=0 turns them off.
"""

import os
from importlib.util import find_spec
from shutil import which

import torch

_COMPILER = os.environ.get("CC") or which("gcc") or which("clang")
_USABLE = bool(os.environ.get("DLP_DYN_KERNELS", "1") != "0" and _COMPILER and find_spec("triton"))


def usable(device: torch.device) -> bool:
    """Whether kernels run on a device: on CUDA, with Triton and the C compiler that it starts kernels with."""
    return _USABLE and device.type == "cuda"
