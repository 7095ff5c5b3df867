"""The fused compositor is the eager one: results, gradients, edges. See compared.py for the cases."""

import importlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from dlp_dyn import geometry
from dlp_dyn.geometry import kernels

HERE = Path(__file__).parent
CASES = (
    "plain", "pixel borders", "odd canvas", "odd glimpse", "large glimpse", "one particle", "not contiguous", "outside",
    "half outside", "larger than the canvas", "tiny", "not there", "one of them not there", "near and far", "on pixels",
)  # fmt: skip
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


def answer(script: str, *words: str, **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, str(HERE / script), *words],
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    return answer("compared.py", "cpu", TRITON_INTERPRET="1")


def check_case(found: dict[str, float]) -> None:
    assert found.pop("image") < 1e-5
    assert found.keys() == {"glimpses", "position", "size", "transparency", "depth"}
    assert max(found.values()) < 1e-5


def check_rest(found: dict[str, Any]) -> None:
    assert found["gradcheck"] is True
    assert found["model"]["loss"] < 1e-6
    assert 0 < found["model"]["gradient"] < 1e-5  # not 0: it was the kernel that drew
    assert found["operators"] is True
    assert found["broken shows"] is True
    assert found["repeats"] is True


def check_compiled(found: dict[str, Any]) -> None:
    for kind, graphs in (("images", 1), ("clips", 4)):  # first frame, next frames, all frames, terms
        compiled = found[kind]
        assert compiled["graphs"] == graphs
        assert compiled["loss"] < 1e-6
        assert compiled["gradient"] < 1e-5


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_draws_what_eager_code_does(interpreted: dict[str, Any], name: str) -> None:
    check_case(dict(interpreted[name]))


@needs_triton
def test_gradients_models_and_broken_places(interpreted: dict[str, Any]) -> None:
    assert interpreted.keys() == {*CASES, "gradcheck", "model", "operators", "broken shows", "repeats"}
    check_rest(interpreted)


@needs_triton
@pytest.mark.slow
def test_the_compiler_takes_models_that_the_kernel_draws() -> None:
    check_compiled(answer("compared.py", "cpu", "compiled", TRITON_INTERPRET="1"))


@needs_triton
def test_the_kernels_compile_for_a_gpu() -> None:
    sizes = answer("compiled.py", "90")
    assert all(n > 1_000 for n in sizes.values())


def test_kernels_are_for_cuda_only() -> None:
    assert not kernels.usable(torch.device("cpu"))


@needs_triton
@pytest.mark.parametrize(("value", "expected"), [("0", False), ("1", True)])
def test_kernels_can_be_turned_off(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DLP_DYN_KERNELS", value)
        patch.setenv("CC", "cc")
        assert importlib.reload(kernels).usable(torch.device("cuda")) is expected
    importlib.reload(kernels)


def test_noise_is_drawn_by_eager_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "usable", lambda device: True)  # noqa: ARG005
    torch.manual_seed(0)
    inputs = torch.rand(1, 2, 4, 6, 6), torch.zeros(1, 2, 2), torch.full((1, 2, 2), 0.5)
    rest = torch.ones(1, 2, 1), torch.zeros(1, 2, 1)
    image, _ = geometry.composite(*inputs, *rest, 12, alpha_noise=0.1)
    assert image.isfinite().all()


@pytest.mark.gpu
def test_the_kernel_on_a_gpu() -> None:
    found = answer("compared.py", "cuda")
    for name in CASES:
        check_case(found[name])
    check_rest(found)
    check_compiled(answer("compared.py", "cuda", "compiled"))
