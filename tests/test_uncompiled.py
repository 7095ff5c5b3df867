"""Some functions are not compiled, and nothing loads the compiler where nothing is."""

import subprocess
import sys

import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from dlp_dyn.nn.uncompiled import uncompiled


def test_the_compiler_leaves_a_function_as_it_is() -> None:
    sums: list[int] = []

    @uncompiled
    def total(x: Tensor, times: int) -> Tensor:
        sums.append(int(x.sum()))  # would break a graph in two; what is not traced appends once a call
        return x + 1 if sums[-1] else x * times

    graphs = CompileCounter()
    run = torch.compile(lambda x: total(2 * x, times=3) - 1, backend=graphs)
    for value in (0.0, 1.0, 2.0):
        expected = 2 * value if value else -1.0
        torch.testing.assert_close(run(torch.full((2,), value)), torch.full((2,), expected))
    assert sums == [0, 4, 8]
    assert graphs.frame_count == 2  # before it and after it: none of its own


def test_commands_start_without_the_compiler() -> None:
    names = "dlp_dyn.predict, dlp_dyn.evaluation.video, dlp_dyn.planning.evaluate_run, dlp_dyn.viewer.studio"
    loaded = f"import sys, {names}; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0
