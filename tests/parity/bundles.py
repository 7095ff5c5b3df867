"""Golden bundles: what official models make of given inputs with random weights, and how near ours has to come.

A bundle is a .safetensors file anywhere below the folder that the environment variable `DLP_GOLDEN` names (default
`../shared/golden`): `state_dict/*`, `input/*` and `output/*` of an official model in its own order of axes, and its
hyper-parameters as JSON in the metadata. Files may have any name; what they hold says which kind they are of.

To add a kind, add one file to kinds/. It is a module with

- `holds(bundle)`: whether a bundle is of this kind, told from its tensors and hyper-parameters, not from its name;
- `outputs(bundle)`: yields (name, ours) for every tensor of `bundle.outputs`, in the official order of axes;
- `LEFT_OUT` (may be missing): patterns of names that have no counterpart in ours -> the reason, in a few words;
- `CONVERTS = True` where `dlp_dyn.official` reads and writes its checkpoints.

An output is compared where its inputs are equal: each stage of a model (proposals, attributes, appearance, rendering,
dynamics) is run on the official outputs of the stage before, so that what is compared is that stage, not how random
weights amplify the rounding of the official figures. Losses are those of our model from images to the end.
"""

import importlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol, cast

import torch
from safetensors import safe_open
from torch import Tensor

TOLERANCE = 1e-4  # of the largest absolute value of a tensor
GOLDEN = Path(os.environ.get("DLP_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))
PATHS = sorted(GOLDEN.rglob("*.safetensors"))


@dataclass(frozen=True)
class Bundle:
    """One official model, its inputs, and what it made of them. Weights stored in half precision are cast."""

    path: Path
    hparams: dict
    state_dict: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class Kind(Protocol):
    """A module of kinds/."""

    def holds(self, bundle: Bundle) -> bool: ...

    def outputs(self, bundle: Bundle) -> Iterator[tuple[str, Tensor]]: ...


KINDS = [
    cast(Kind, importlib.import_module(f"kinds.{path.stem}"))
    for path in sorted(Path(__file__).with_name("kinds").glob("*.py"))
]


def read(path: Path, dtype: torch.dtype = torch.float32) -> Bundle:
    """A bundle whose weights are in single precision and whose other floating tensors are of a type."""
    with safe_open(path, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        hparams = json.loads(file.metadata()["hparams"])

    def part(prefix: str, dtype: torch.dtype) -> dict[str, Tensor]:
        found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        return {k: v.to(dtype) if v.is_floating_point() else v for k, v in found.items()}

    weights = part("state_dict/", torch.float32)
    return Bundle(path, hparams, weights, part("input/", dtype), part("output/", dtype))


def kind_of(bundle: Bundle) -> Kind | None:
    """The one kind that a bundle is of; None where there is none yet."""
    kinds = [kind for kind in KINDS if kind.holds(bundle)]
    assert len(kinds) <= 1, f"{bundle.path}: of several kinds, {kinds}"
    return kinds[0] if kinds else None


def left_out(kind: Kind, name: str) -> bool:
    patterns: Mapping[str, str] = getattr(kind, "LEFT_OUT", {})
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def misfit(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a share of the largest value of the official tensor."""
    error = (ours.reshape(theirs.shape) - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6)
    return float(error)


def misfits(pairs: Iterator[tuple[str, Tensor]], theirs: Mapping[str, Tensor]) -> dict[str, float]:
    """How far each of our tensors is from the official one of the same name."""
    return {name: misfit(ours, theirs[name]) for name, ours in pairs}
