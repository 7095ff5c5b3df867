"""Names that torch and its companions keep to themselves: there, and doing what is expected of them."""

import ast
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from dlp_dyn.nn import private

PACKAGES = [Path(__file__).parents[1] / name for name in ("dlp_dyn", "agents")]
HERE = Path(private.__file__)


def test_a_dirichlet_draw_is_one_and_has_the_mean() -> None:
    concentration = torch.tensor([2.0, 6.0]).expand(20_000, 2)
    drawn = private.dirichlet(concentration, torch.Generator().manual_seed(0))
    assert_close(drawn.sum(-1), torch.ones(20_000))
    assert_close(drawn.mean(0), torch.tensor([0.25, 0.75]), atol=0.01, rtol=0)
    again = private.dirichlet(concentration, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_lerp_moves_each_tensor_by_its_weight() -> None:
    targets, values = [torch.zeros(3), torch.ones(2)], [torch.ones(3), torch.full((2,), 5.0)]
    private.lerp_(targets, values, 0.25)
    assert_close(targets, [torch.full((3,), 0.25), torch.full((2,), 2.0)])


@pytest.mark.skipif(not private.packs_linear(), reason="this build of torch has no oneDNN")
@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_a_packed_layer_is_the_layer(activation) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(24, 16), torch.randn(5, 24)
    with torch.no_grad():
        y = private.packed_linear(x, private.pack_weight(layer.weight), layer.bias, activation)
        expected = layer(x) if activation == "none" else F.gelu(layer(x))
    assert_close(y, expected)


def test_lpips_and_accelerate_still_have_theirs() -> None:
    from accelerate.state import AcceleratorState
    from torchmetrics.functional.image import lpips

    assert callable(lpips._LPIPS)
    assert callable(AcceleratorState._reset_state)


def test_nobody_else_calls_a_private_name_of_torch() -> None:
    for file in (path for package in PACKAGES for path in package.rglob("*.py") if path != HERE):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and node.attr.startswith("_")
                and not node.attr.startswith("__")
            ):
                assert not ast.unparse(node.value).startswith("torch"), f"{file}: {ast.unparse(node)}"
