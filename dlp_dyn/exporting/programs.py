"""Models as files that run without this package: ONNX, or programs of torch.export.

A run gives `encoder`: images in [0, 1], over (B, 3, H, W), to the mean particles and background; and, where it has
dynamics, `step`: a full window of scenes with their actions to the most likely scene after it. Batches may have any
size. Every program is run beside its model before it is written.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from dlp_dyn import checkpoint, folders
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.errors import InputError, writing
from dlp_dyn.image.model import DLP
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.video import VideoModel

Format = Literal["onnx", "torch"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
SCENE = (*(f.name for f in fields(Particles)), "background")
_TOLERANCE = 1e-3  # of a tensor's largest value: beyond it a program is another function


@dataclass(frozen=True)
class Program:
    """A module of tensors alone, with an example of its inputs (a batch of two or more) and all their names."""

    name: str
    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """A file that was written. difference: the largest one from the model, as a share of the tensor's largest value."""

    file: Path
    inputs: dict[str, tuple[int, ...]]
    n_bytes: int
    difference: float


class Encoder(nn.Module):
    """Images -> the mean scene, a tensor a field."""

    def __init__(self, model: DLP) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return flat(self.model.encode(images).mean)


class DynamicsStep(nn.Module):
    """A window of scenes, a tensor a field, and what steers them -> the most likely scene after it."""

    def __init__(self, model: VideoModel, steering: Sequence[str]) -> None:
        super().__init__()
        self.dynamics, self.steering = model.dynamics, tuple(steering)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        scenes = scene_of(inputs[: len(SCENE)])
        given = dict(zip(self.steering, inputs[len(SCENE) :], strict=True))
        goal = scene_of([given[f"goal_{name}"] for name in SCENE]) if f"goal_{SCENE[0]}" in given else None
        conditions = Conditions(given.get("actions"), goal, given.get("language"))
        state = self.dynamics.start(scenes, conditions)
        return flat(self.dynamics.step(scenes, conditions, state).drawn)


class _Positional(nn.Module):
    """A module whose inputs are one tuple to `torch.export`, however many it has."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.module(*inputs)


def flat(scene: Scene) -> tuple[Tensor, ...]:
    """The tensors of a scene, in the order of `SCENE`."""
    return (*scene.particles, scene.background)


def scene_of(tensors: Sequence[Tensor]) -> Scene:
    """The scene that `flat` gave."""
    return Scene(Particles(*tensors[:-1]), tensors[-1])


@torch.no_grad()
def programs(model: DLP | VideoModel) -> list[Program]:
    """Those of a model: its encoder, and one step of its dynamics."""
    image = model.image if isinstance(model, VideoModel) else model
    views = image.cfg.encoder.views
    generator = torch.Generator().manual_seed(0)
    device = next(model.parameters()).device
    side, n_images = image.cfg.image_size, 2 * views

    def noise(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).to(device)

    encoder = Encoder(image).eval()
    images = noise(n_images, 3, side, side)
    found = [Program("encoder", encoder, (images,), ("images",), SCENE)]
    if isinstance(model, VideoModel):
        cfg = model.cfg.dynamics
        window = [encoder(noise(n_images, 3, side, side)) for _ in range(model.dynamics.window)]
        example = {
            name: torch.stack(parts, 1) for name, parts in zip(SCENE, zip(*window, strict=True), strict=True)
        }
        if cfg.action_dim:
            example["actions"] = noise(n_images, model.dynamics.window, cfg.action_dim)
        if cfg.kind == "latent_actions" and cfg.latent_actions.goal:
            example |= {f"goal_{name}": x for name, x in zip(SCENE, encoder(images), strict=True)}
        if cfg.kind == "latent_actions" and (width := cfg.latent_actions.language_dim):
            example["language"] = noise(2, cfg.latent_actions.language_length, width)
        step = DynamicsStep(model, tuple(example)[len(SCENE) :]).eval()
        found.append(
            Program("step", step, tuple(example.values()), tuple(example), tuple(f"next_{x}" for x in SCENE))
        )
    return found


def serialised(program: Program, format: Format) -> bytes:
    """The file of a program, for batches of any size. Raises InputError where onnx is not installed."""
    dynamic = (tuple({0: torch.export.Dim.DYNAMIC} for _ in program.example),)
    with torch.no_grad():
        graph = torch.export.export(
            _Positional(program.module), program.example, dynamic_shapes=dynamic, strict=False
        )
    if format == "torch":
        stream = io.BytesIO()
        torch.export.save(graph, stream)
        return stream.getvalue()
    try:
        made = torch.onnx.export(
            graph, input_names=program.inputs, output_names=program.outputs, dynamo=True, verbose=False
        )
    except ImportError as error:
        raise InputError(f"ONNX: {error.name} is missing; pip install 'dlp_dyn[export]'") from None
    assert made is not None
    return made.model_proto.SerializeToString()


def opened(data: bytes, format: Format, program: Program) -> Callable[..., list[Tensor]]:
    """The file of a program as a function of its inputs, by ONNX Runtime or torch.

    Raises InputError where onnxruntime is not installed.
    """
    if format == "torch":
        module = torch.export.load(io.BytesIO(data)).module()
        return lambda *inputs: _listed(module(*inputs))
    try:
        import onnxruntime
    except ImportError:
        raise InputError("ONNX: onnxruntime is missing; pip install 'dlp_dyn[export]'") from None
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> list[Tensor]:
        arrays = {name: x.numpy() for name, x in zip(program.inputs, inputs, strict=True)}
        return [torch.as_tensor(x) for x in session.run(list(program.outputs), arrays)]

    return run


@torch.no_grad()
def largest_difference(data: bytes, format: Format, program: Program) -> float:
    """Between the file and the model, for two sizes of batches, as a share of each tensor's largest value."""
    worst, file = 0.0, opened(data, format, program)
    for inputs in (program.example, tuple(torch.cat([x, x.flip(0)]) for x in program.example)):
        for found, right in zip(file(*inputs), _listed(program.module(*inputs)), strict=True):
            error = (found.double() - right.double()).abs().max() / right.double().abs().max().clamp(min=1e-6)
            worst = max(worst, error.item())
    return worst


def _listed(outputs: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def write(program: Program, file: Path, format: Format) -> Written:
    """Write one program, when it gives what its module does.

    Raises InputError where it does not, where the file cannot be written, and where onnx is not installed.
    """
    data = serialised(program, format)
    difference = largest_difference(data, format, program)
    if not difference <= _TOLERANCE:
        raise InputError(
            f"{file}: the exported {program.name} differs from the model by {difference:.1e} of its largest value: "
            f"not written; use another format"
        )
    folders.write_file(file, data)
    shapes = {name: tuple(x.shape) for name, x in zip(program.inputs, program.example, strict=True)}
    return Written(file, shapes, len(data), difference)


def export(run: str | Path, out: Path, format: Format) -> list[Written]:
    """Write the encoder of a run and one step of its dynamics into a folder; `encoder` alone of image models.

    Raises InputError for runs of another kind, and where nothing can be written.
    """
    model = checkpoint.load(run).requires_grad_(False)
    with writing(out, "choose another folder"):
        out.mkdir(parents=True, exist_ok=True)
    return [write(program, out / f"{program.name}{SUFFIXES[format]}", format) for program in programs(model)]
