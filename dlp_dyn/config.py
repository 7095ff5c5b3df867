"""Training configs: what a run depends on, from YAML in configs/ and `section.key=value`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig, IdentityConfig
from dlp_dyn.image.phases import PhaseSchedule
from dlp_dyn.settings import CONFIGS, has_section, load_as, read_as, read_section, to_yaml


@dataclass(frozen=True)
class DataConfig:
    """What is read: clips of `clip_length` frames, every `stride`-th frame of an episode.

    path: a rollout file; `balls` or `shapes` draws a small one on first use (see `data.synthetic`).
    """

    path: str
    clip_length: int = 1
    stride: int = 1
    workers: int = 0  # processes that read clips; 0 reads in the training process

    def __post_init__(self) -> None:
        _at_least("data", self, clip_length=1, stride=1, workers=0)
        if not self.path:
            raise InputError(
                "config: data.path is missing; add data.path=FILE to the command (dlp-dyn collect or import makes one)"
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, and how its learning rate moves: linear warm-up, then the schedule, from `lr` to `lr * final_lr`."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    warm_up_steps: int = 0
    final_lr: float = 0.1  # fraction of `lr` that is left at the last step
    max_grad_norm: float | None = None
    ema_decay: float | None = None  # average of the weights, used for evaluation and in checkpoints

    def __post_init__(self) -> None:
        _at_least("optimizer", self, warm_up_steps=0, weight_decay=0)
        if not 0 < self.final_lr <= 1:
            raise InputError(
                f"config: optimizer.final_lr is {self.final_lr}; give a fraction of lr in (0, 1]"
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise InputError(
                f"config: optimizer.ema_decay is {self.ema_decay}; give a value in (0, 1) or null"
            )
        if self.max_grad_norm is not None and self.max_grad_norm <= 0:
            raise InputError(
                f"config: optimizer.max_grad_norm is {self.max_grad_norm}; give a positive one or null"
            )


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training run depends on. `weights` names the model's loss terms, all of them.

    With `dynamics.kind` other than none the model is one of videos. stage: `joint` trains all of it on clips;
    `dynamics` takes the image model of the run `image` as it is, encodes the data once, and trains the dynamics on
    the particles. In the joint stage, `image` is where the image model starts from.
    """

    data: DataConfig
    model: DLPConfig = field(default_factory=DLPConfig)
    identity: IdentityConfig = field(default_factory=IdentityConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    stage: Literal["joint", "dynamics"] = "joint"
    image: str | None = None  # a run folder or checkpoint
    weights: dict[str, float] = field(default_factory=dict)
    ramps: dict[str, list[int]] = field(
        default_factory=dict
    )  # term: [first, last] step of a rise from 0 to 1
    phases: PhaseSchedule = field(default_factory=PhaseSchedule)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    steps: int = 10_000
    batch_size: int = 32  # clips an optimiser step, over all processes and accumulated parts together
    accumulate: int = 1  # parts into which a step is cut, to fit in memory
    lr: float = 2e-4
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["no", "bf16"] = "no"
    compile: bool = False  # torch.compile; measured slower on a CPU
    out: str = "runs/run"  # the run folder; a named config gives runs/<name>
    log_every: int = 50
    eval_every: int = 1_000
    eval_frames: int = 256  # held-out frames looked at, evenly spread over the validation part
    save_every: int = 1_000
    sample_every: int = 1_000

    def __post_init__(self) -> None:
        _at_least(
            "", self, steps=1, batch_size=1, accumulate=1, log_every=1, eval_every=1, eval_frames=1, save_every=1,
            sample_every=1,
        )  # fmt: skip
        if self.lr <= 0:
            raise InputError(f"config: lr is {self.lr}; give a positive learning rate")
        for term, ramp in self.ramps.items():
            if term not in self.weights:
                raise InputError(
                    f"config: ramps.{term} has no weight; terms: {', '.join(sorted(self.weights))}"
                )
            if len(ramp) != 2 or not 0 <= ramp[0] < ramp[1]:
                raise InputError(f"config: ramps.{term} is {ramp}; give [first, last] steps, first < last")


def _at_least(section: str, cfg: object, **least: int) -> None:
    for key, value in least.items():
        if getattr(cfg, key) < value:
            name = f"{section}.{key}" if section else key
            raise InputError(f"config: {name} is {getattr(cfg, key)}; the least is {value}")


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """A training config by name (a file in configs/) or path, with `section.key=value` overrides on top.

    Raises InputError, naming the key and the remedy, for unknown keys, wrong types, and missing values.
    """
    return load_as(TrainConfig, CONFIGS, name_or_path, overrides)


def read(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """A fully resolved config that `save` wrote, with overrides on top."""
    return read_as(TrainConfig, path, overrides)


def save(cfg: TrainConfig, path: Path) -> None:
    """Writes a config as YAML, every value spelled out; `read` gives back an equal one."""
    path.write_text(to_yaml(cfg))


def frame_stride(file: Path) -> int:
    """How many frames apart those are that the model of a config file was trained on."""
    return read_section(file, "data", DataConfig).stride if has_section(file, "data") else 1
