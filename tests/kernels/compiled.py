"""Compile the compositor's kernels to machine code for a GPU that need not be there; prints each kernel's bytes.

python tests/kernels/compiled.py 90
"""

import json
import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from dlp_dyn.geometry.kernels import composite

_STRIDES = ("n", "stride_m", "stride_c", "stride_y", "stride_x")
_PLACES = ("glimpses", "position", "size", "transparency", "nearness")


def size(kernel: Any, results: tuple[str, ...], capability: int) -> int:
    """Bytes of machine code for glimpses of 32 pixels on a canvas of 128."""
    constants = {"CANVAS": 128, "SIDE": 32, "ALIGN": True, "TILE": 16}
    signature = dict.fromkeys((*_PLACES, *results), "*fp32") | dict.fromkeys(_STRIDES, "i32")
    source = ASTSource(kernel, signature | dict.fromkeys(constants, "constexpr"), constants)
    return len(triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"])


if __name__ == "__main__":
    arch = int(sys.argv[1])
    print(
        json.dumps(
            {
                "draw": size(composite._draw, ("foreground", "background", "share"), arch),
                "gather": size(composite._gather, ("to_total", "to_glimpses", "to_places"), arch),
            }
        )
    )
