"""Training configs: frozen dataclasses <- YAML in configs/ <- `section.key=value`."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_type_hints

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig, IdentityConfig
from dlp_dyn.image.phases import PhaseSchedule

_PACKAGED = Path(__file__).parent / "configs"
# In a wheel the configs lie inside the package, in a clone beside it.
CONFIGS = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[1] / "configs"

T = TypeVar("T")


@dataclass(frozen=True)
class DataConfig:
    """What is read: clips of `clip_length` frames, every `stride`-th frame of an episode."""

    path: str  # a rollout file
    clip_length: int = 1
    stride: int = 1
    workers: int = 0  # processes that read clips; 0 reads in the training process

    def __post_init__(self) -> None:
        _at_least("data", self, clip_length=1, stride=1, workers=0)


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


def load_as(schema: type[T], folder: Path, name_or_path: str | Path, overrides: Sequence[str] = ()) -> T:
    """As `load`, for configs of another kind, which lie in another folder. `out` is runs/NAME where none is given."""
    path = find(name_or_path, folder)
    layers = [(path.name, layer) for layer in _with_parents(path, folder)]
    if not any("out" in layer for _, layer in layers):
        layers.insert(0, (path.name, {"out": f"runs/{path.stem}"}))
    return _build(schema, [*layers, ("overrides", _parse(overrides))])


def read(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """A fully resolved config that `save` wrote, with overrides on top."""
    return read_as(TrainConfig, path, overrides)


def read_as(schema: type[T], path: Path, overrides: Sequence[str] = ()) -> T:
    """As `read`, for configs of another kind."""
    return _build(schema, [(str(path), _read_yaml(path)), ("overrides", _parse(overrides))])


def read_section(path: Path, section: str, schema: type[T]) -> T:
    """One section of a config file: enough to rebuild a model where nothing is known of its training."""
    raw = _read_yaml(path)
    if not isinstance(raw.get(section), dict):
        raise InputError(f"{path}: no section '{section}'; this is not the config of a dlp_dyn run")
    return _build(schema, [(str(path), raw[section])], prefix=f"{section}.")


def has_section(path: Path, section: str) -> bool:
    """Whether a config file has a section of this name."""
    return isinstance(_read_yaml(path).get(section), dict)


def save(cfg: object, path: Path) -> None:
    """Writes a config dataclass as YAML, every value spelled out; `read` gives back an equal one."""
    path.write_text(to_yaml(cfg))


def to_yaml(cfg: object) -> str:
    return OmegaConf.to_yaml(OmegaConf.structured(cfg))


def names(folder: Path = CONFIGS) -> list[str]:
    """Names of the configs that come with the package."""
    return sorted(p.stem for p in folder.glob("*.yaml"))


def find(name_or_path: str | Path, folder: Path = CONFIGS) -> Path:
    """The file of a config named as in configs/, or of a path."""
    text, known = str(name_or_path), names(folder)
    if text in known:
        return folder / f"{text}.yaml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise InputError(f"{path}: no such config file; configs that come with dlp_dyn: {', '.join(known)}")
    hint = _closest(text, known)
    raise InputError(
        f"no config named '{text}'{hint}; there are {', '.join(known)}, or give a path to a .yaml"
    )


def _with_parents(path: Path, folder: Path, seen: tuple[Path, ...] = ()) -> list[dict[str, Any]]:
    """The layers of a config file, most general first: `defaults: name` stands for the config it builds on."""
    if path in seen:
        raise InputError(f"{path}: 'defaults' goes round in a circle")
    layer = _read_yaml(path)
    parent = layer.pop("defaults", None)
    if parent is None:
        return [layer]
    beside = path.with_name(f"{parent}.yaml")
    parent_path = beside if beside.is_file() else find(str(parent), folder)
    return [*_with_parents(parent_path, folder, (*seen, path)), layer]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = OmegaConf.to_container(OmegaConf.load(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no such config file") from None
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not readable as YAML: {_first_line(error)}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: expected `key: value` lines, found a {type(raw).__name__}")
    return cast(dict[str, Any], raw)


def _parse(overrides: Sequence[str]) -> dict[str, Any]:
    for text in overrides:
        key, equals, _ = text.partition("=")
        if not equals or not all(key.split(".")):
            raise InputError(f"override '{text}': write it as key=value or section.key=value, without spaces")
    try:
        return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides))))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"overrides {' '.join(overrides)}: {_first_line(error)}") from None


def _build(schema: type[T], layers: Sequence[tuple[str, dict[str, Any]]], prefix: str = "") -> T:
    config: DictConfig = OmegaConf.structured(schema)
    for source, layer in layers:
        _refuse_unknown(schema, layer, source, prefix)
        try:
            config = cast(DictConfig, OmegaConf.merge(config, layer))
        except OmegaConfBaseException as error:
            where = f"{prefix}{error.full_key}: " if error.full_key else ""
            raise InputError(f"{source}: {where}{_first_line(error)}") from None
    try:
        return cast(T, OmegaConf.to_object(config))
    except MissingMandatoryValue as error:
        key = {"data": "data.path", "env": "env.id"}.get(error.full_key or "", error.full_key)
        raise InputError(
            f"config: {prefix}{key} is missing; add {prefix}{key}=VALUE to the command"
        ) from None
    except OmegaConfBaseException as error:
        raise InputError(f"config: {prefix}{error.full_key}: {_first_line(error)}") from None


def _refuse_unknown(schema: type, layer: dict[str, Any], source: str, prefix: str) -> None:
    """OmegaConf refuses unknown keys too; this names the whole key, and what is there instead."""
    known = [f.name for f in fields(schema)]
    hints = get_type_hints(schema)
    for key, value in layer.items():
        if key not in known:
            hint = _closest(str(key), known)
            raise InputError(f"{source}: unknown key '{prefix}{key}'{hint}; keys here: {', '.join(known)}")
        if is_dataclass(hints[key]) and isinstance(value, dict):
            _refuse_unknown(cast(type, hints[key]), value, source, f"{prefix}{key}.")


def _closest(word: str, among: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, among, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
