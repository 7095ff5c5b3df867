"""Training configs: what a run depends on, from YAML in configs/ and `section.key=value`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.errors import InputError
from dlp_dyn.generation.config import DiffusionConfig
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.keypoint_vae.config import KeypointVAEConfig
from dlp_dyn.objectives.config import LossWeights, PriceConfig, ScheduleConfig
from dlp_dyn.settings import (
    CONFIGS,
    Count,
    Length,
    Natural,
    NonNegative,
    Positive,
    Seed,
    Was,
    at_least,
    between,
    former_names,
    load_as,
    read_as,
    read_yaml,
    to_yaml,
)
from dlp_dyn.soft_intro.config import GameConfig, SoftIntroConfig
from dlp_dyn.tracking.config import TrackingConfig

Decay = Annotated[float, between(0, 1, "most")]
Tracker = Literal["tensorboard", "trackio", "wandb"]


@dataclass(frozen=True)
class DataConfig:
    """What is read: clips of frames from rollout files."""

    path: str
    """a file, a folder, or balls or shapes: the rollout file, or all (*.h5) of a folder as one; the two names draw a
    small one on first use."""
    clip_length: Annotated[int, at_least(1, "frames")] = 1
    """1 for models of single images; window + 1 or more for clips in the joint stage."""
    stride: Count = 1
    """Every so many-th frame of an episode is read; larger where frames hardly differ."""
    view: str | None = None
    """a camera of the file, by its name: shows the frames, in training and in what looks at the run's data later; null:
    the first one."""
    texts: str | None = None
    """a npy file, for models that are told what to do: what a text encoder made of each episode's text, of shape
    (episodes, length, width)."""
    workers: Natural = 0
    """Processes that read clips; 0 reads in the training process."""


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, and how its learning rate moves: linear warm-up, then the schedule, from `lr` to `lr * final_lr`."""

    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """two numbers: how long averages of the gradient and of its square remember."""
    eps: Positive = 1e-8
    """Added to the gradient's root mean square; the published models use larger ones."""
    weight_decay: NonNegative = 0.0
    """Pulls weights to zero."""
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    """How the learning rate falls to its end."""
    warm_up_steps: Natural = 0
    """Steps over which the learning rate rises from 0."""
    final_lr: Annotated[float, between(0, 1, "least")] = 0.1
    """Fraction of `lr` that is left at the last step; not of the constant schedule."""
    max_grad_norm: Positive | None = None
    """Longer gradients are cut to this length."""
    ema_decay: Annotated[float, between(0, 1, "both")] | None = None
    """Average of the weights, used for evaluation and in checkpoints."""
    ema_every: Annotated[int, at_least(1, "steps")] = 1
    """Between updates of the average."""
    ema_start: Annotated[int, at_least(0, "steps")] = 0
    """With ema_power, during which the average is a copy of the weights."""
    ema_power: Positive | None = None
    """After n steps the average keeps 1 - (1 + n)^-power of itself, ema_decay at most."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a training run depends on."""

    data: DataConfig
    model: DLPConfig = field(default_factory=DLPConfig)
    tracking: Annotated[TrackingConfig, Was("identity")] = field(default_factory=TrackingConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    keypoint_vae: KeypointVAEConfig | None = None
    """a section, or null: DLPv1 in the place of `model`."""
    soft_intro: SoftIntroConfig | None = None
    """a section, or null: a Soft-IntroVAE of images, points of the plane or point clouds in the place of `model`."""
    introspection: GameConfig | None = None
    """a section, or null: a model that is trained already, the run `image`, plays Soft-IntroVAE's game for the looks of
    its particles; with data.clip_length above 1, those that its dynamics predict of the last frame."""
    generation: DiffusionConfig | None = None
    """a section, or null: diffusion that is trained on the particles of the video model in the run `image`."""
    stage: Literal["joint", "dynamics"] = "joint"
    """With dynamics: `joint` trains all of the model on clips; `dynamics` takes the image model of the run `image` as
    it is, encodes the data once, and trains the dynamics on the particles."""
    image: str | None = None
    """a run folder, checkpoint or Hub id: the image model of the second stage, or what the joint stage starts from."""
    weights: LossWeights = field(default_factory=LossWeights)
    ramps: dict[str, Annotated[list[Natural], Length(2, 2)]] = field(default_factory=dict)
    """[first, last] steps each: between them the weight of a term rises from 0 to what it is."""
    phases: ScheduleConfig = field(default_factory=ScheduleConfig)
    prices: PriceConfig = field(default_factory=PriceConfig)
    auto: list[str] = field(default_factory=list)
    """names of settings: measured on the data when training starts (see `dlp-dyn inspect`), and then stored; a value
    that is given, on the command line or in a config that builds on this one, takes the place of its name."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    steps: Count = 10_000
    """Optimiser steps."""
    batch_size: Count = 32
    """Clips an optimiser step, over all processes and accumulated parts together."""
    accumulate: Count = 1
    """Parts into which a step is cut, to fit in memory."""
    lr: Positive = 2e-4
    """Learning rate; 1e-3 for the lean networks, lower where losses jump."""
    seed: Seed = 0
    """Of weights, batches and noise; on a CPU the same seed gives the same run."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it trains; auto takes CUDA where there is one."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 halves activations; distributions, losses and compositing stay in float32."""
    compile: Literal["none", "default", "reduce-overhead"] = "none"
    """A mode of torch.compile: `reduce-overhead` replays CUDA graphs, `default` does not. Slower on a CPU."""
    out: str = "runs/run"
    """a folder: the run folder; a named config gives runs/NAME."""
    log_every: Annotated[int, at_least(1, "steps")] = 50
    """Between lines of the log."""
    log_with: Tracker = "tensorboard"
    """What shows the log beside metrics.jsonl: TensorBoard's events in the run folder, trackio or Weights & Biases (the
    extras `trackio` and `wandb`)."""
    eval_every: Annotated[int, at_least(1, "steps")] = 1_000
    """Between evaluations on held-out frames; the best one's weights are kept."""
    eval_frames: Count = 256
    """Held-out frames looked at, evenly spread over the validation part."""
    save_every: Annotated[int, at_least(1, "steps")] = 1_000
    """Between checkpoints to go on from."""
    sample_every: Annotated[int, at_least(1, "steps")] = 1_000
    """Between pictures."""

    @property
    def frame_size(self) -> int:
        """Pixels, of the data; pairs of views are a quarter larger than what a model sees of them."""
        if self.soft_intro is not None and self.soft_intro.image_size is not None:
            return self.soft_intro.image_size
        if self.keypoint_vae is None:
            return self.model.image_size
        side = self.keypoint_vae.image_size
        return side * 5 // 4 if self.keypoint_vae.warped_pairs else side

    @property
    def reads_rollouts(self) -> bool:
        """Whether `data.path` is of frames; points of the plane and point clouds are not."""
        return self.soft_intro is None or self.soft_intro.image_size is not None

    def __post_init__(self) -> None:
        if self.introspection is not None and self.accumulate > 1:
            raise InputError("config: introspection is in one part: set accumulate=1")
        if self.introspection is not None and self.dynamics.kind != "none" and self.data.clip_length == 1:
            raise InputError(
                "config: introspection of single images has no dynamics: set dynamics.kind=none, or data.clip_length "
                "to the frames that a video model sees and predicts"
            )
        for term, ramp in self.ramps.items():
            if not hasattr(self.weights, term):
                known = ", ".join(item.name for item in fields(LossWeights))
                raise InputError(f"config: ramps.{term} is no loss term; terms: {known}")
            if ramp[0] >= ramp[1]:
                raise InputError(f"config: ramps.{term} is {ramp}; give [first, last] steps, first < last")


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """A training config by name (a file in configs/) or path, with `section.key=value` overrides on top.

    Raises InputError, naming the key and the remedy, for unknown keys, wrong types, and missing values.
    """
    return load_as(TrainConfig, CONFIGS, name_or_path, overrides)


def read(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """A fully resolved config that `save` wrote, with overrides on top."""
    return read_as(TrainConfig, path, [*_renamed(read_yaml(path)), *overrides])


def _renamed(raw: dict[str, Any]) -> list[str]:
    """Overrides that give settings of an earlier version their place of today: one of them had two meanings."""
    phases = raw.get("phases") or {}
    if raw.get("stage") != "dynamics" or "longer_rollouts_steps" in phases:
        return []
    return [f"phases.longer_rollouts_steps={phases.get('later_frames_steps', 0)}"]


def notes(path: Path) -> list[str]:
    """A line where a run's config is of an earlier version, saying what its settings are called now."""
    names = former_names(TrainConfig, read_yaml(path))
    told = ", ".join(f"{old} is {new}" for old, new in names.items())
    return [f"{path}: settings of an earlier version go by their names of today: {told}"] if names else []


def save(cfg: TrainConfig, path: Path) -> None:
    """Writes a config as YAML, every value spelled out; `read` gives back an equal one."""
    path.write_text(to_yaml(cfg))
