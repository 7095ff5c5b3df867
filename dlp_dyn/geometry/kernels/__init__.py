"""Kernels for GPUs, each the same function as a plain one elsewhere, which stays its oracle and what a CPU uses.

The environment variable DLP_DYN_KERNELS=0 turns them off.
"""

import os
from functools import cache
from importlib.util import find_spec
from shutil import which

import torch

_WANTED = os.environ.get("DLP_DYN_KERNELS", "1") != "0"


@cache
@torch.compiler.assume_constant_result
def usable(device: torch.device) -> bool:
    """Whether kernels run on a device: on CUDA, with Triton and the C compiler that it starts kernels with."""
    compiler = os.environ.get("CC") or which("gcc") or which("clang")
    return bool(_WANTED and device.type == "cuda" and find_spec("triton") and compiler)
