"""Every tensor of every golden bundle, by one tolerance: our model with the official weights gives the same."""

import pytest
import torch
from bundles import GOLDEN, PATHS, TOLERANCE, kind_of, left_out, misfits, read


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("path", PATHS or [None], ids=lambda p: str(p.relative_to(GOLDEN)) if p else "none")
def test_every_tensor(path):
    if path is None:
        pytest.skip(f"no golden bundles in {GOLDEN}")
    bundle = read(path, torch.float64)
    kind = kind_of(bundle)
    if kind is None:
        pytest.skip(f"no kind in tests/parity/kinds is of {path.relative_to(GOLDEN)}")
    found = misfits(kind.outputs(bundle), bundle.outputs)
    missing = {name for name in bundle.outputs if name not in found and not left_out(kind, name)}
    assert not missing, f"not compared: {sorted(missing)}"
    far = {name: f"{error:.1e}" for name, error in found.items() if not error <= TOLERANCE}
    assert not far, far
