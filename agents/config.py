"""Configs of agents: frozen dataclasses <- YAML in configs/agents <- `section.key=value`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agents.foreground import ForegroundConfig
from agents.networks import EntityConfig
from agents.replay import Storage
from agents.rewards import ChamferConfig
from agents.td3 import Exploration
from dlp_dyn import settings
from dlp_dyn.errors import InputError

FOLDER = settings.CONFIGS / "agents"

Kind = Literal["particles", "state", "pixels"]


@dataclass(frozen=True)
class EnvConfig:
    """A Gymnasium environment, as `dlp-dyn collect` names it, with its arguments. It may have goals, or none."""

    id: str
    settings: dict[str, Any] = field(default_factory=dict)
    pixel_settings: dict[str, Any] = field(default_factory=dict)  # more of them, where pictures are looked at
    n_envs: int = 8  # that play at the same time, in this process

    def __post_init__(self) -> None:
        _at_least("env", self, n_envs=1)


@dataclass(frozen=True)
class ObservationConfig:
    """What the agent sees of `observation` and, where there are goals, of `desired_goal`.

    particles: of the pictures under the keys `images`, by the image model of the run `encoder`. pixels: those
    pictures. state: what the environment gives. `images` does not count where the observation is one picture.
    """

    kind: Kind = "particles"
    encoder: str | None = None  # run folder, checkpoint folder or Hub id
    images: dict[str, str] = field(
        default_factory=lambda: {"observation": "pixels", "desired_goal": "goal_pixels"}
    )
    track: bool = False  # particles keep their slots within an episode
    stack: int = 1  # steps that are seen at once
    normalizer: str | None = (
        None  # a file; otherwise it is fitted to `normalizer_frames` of the warm-up policy
    )
    normalizer_frames: int = 512

    def __post_init__(self) -> None:
        _at_least("observation", self, stack=1, normalizer_frames=16)


@dataclass(frozen=True)
class NetworkConfig:
    """entity: the entity interaction transformer. flat: one perceptron over all numbers. cnn: SB3's, for pixels."""

    kind: Literal["entity", "flat", "cnn"] = "entity"
    entity: EntityConfig = field(default_factory=EntityConfig)
    flat: tuple[int, ...] = (256, 256)  # perceptron of flat, and behind the convolutions of cnn


@dataclass(frozen=True)
class Td3Config:
    """What is TD3's own; see `GoalTD3`. `q_range: true` clips target values to those that are possible."""

    policy_delay: int = 2
    target_noise: float = 0.2
    noise_clip: float = 0.5
    action_l2: float = 0.0
    q_range: bool = False
    target_update: Literal["step", "cycle"] = "step"
    imitation: float = 0.0
    imitation_until: int = 0
    exploration: Exploration = field(default_factory=Exploration)


@dataclass(frozen=True)
class SacConfig:
    entropy: str = "auto"  # weight of the entropy: a number, or auto, or auto_0.1 to begin there


@dataclass(frozen=True)
class PpoConfig:
    n_steps: int = 128  # of every environment between updates
    n_epochs: int = 4
    gae_lambda: float = 0.95
    clip_range: float = 0.2
    entropy: float = 0.0
    max_grad_norm: float = 0.5


@dataclass(frozen=True)
class AlgorithmConfig:
    """An algorithm of Stable-Baselines3. Off-policy ones do `gradient_steps` after `train_every` steps of every
    environment; -1: as many as steps were made."""

    kind: Literal["td3", "sac", "ppo"] = "td3"
    lr: float = 5e-4
    gamma: float = 0.98
    batch_size: int = 256
    tau: float = 0.005
    train_every: int = 1
    gradient_steps: int = -1
    buffer_size: int = 100_000
    td3: Td3Config = field(default_factory=Td3Config)
    sac: SacConfig = field(default_factory=SacConfig)
    ppo: PpoConfig = field(default_factory=PpoConfig)

    def __post_init__(self) -> None:
        _at_least("algorithm", self, batch_size=1, train_every=1, gradient_steps=-1, buffer_size=1)
        if not 0 <= self.gamma < 1 or self.lr <= 0:
            raise InputError(
                f"config: algorithm.gamma is {self.gamma}, lr {self.lr}; give 0 <= gamma < 1 and a positive lr"
            )


@dataclass(frozen=True)
class ReplayConfig:
    """Of goals. `her`: share of samples whose goal is a later step of their episode."""

    her: float = 0.8
    dtype: Storage | None = "float16"  # of particles; states and pixels stay as they are


@dataclass(frozen=True)
class RewardConfig:
    """environment: its own, from ground truth. chamfer: of particles alone, of those that `foreground` picks."""

    kind: Literal["environment", "chamfer"] = "environment"
    chamfer: ChamferConfig = field(default_factory=ChamferConfig)
    foreground: ForegroundConfig = field(default_factory=ForegroundConfig)
    foreground_steps: int = 2000  # of random actions that the filter is fitted to


@dataclass(frozen=True)
class WarmUpConfig:
    """Steps before learning begins, of a policy that sees the environment's own observation.

    policy: "random" or "module:name", as for `dlp-dyn collect`. noise: width of Gaussian noise on its actions, which
    are counted in [-1, 1]. random: share of episodes that play uniform actions instead.
    """

    steps: int = 1000
    policy: str = "random"
    noise: float = 0.0
    random: float = 0.0

    def __post_init__(self) -> None:
        _at_least("warm_up", self, steps=0)
        if self.noise < 0 or not 0 <= self.random <= 1:
            raise InputError(
                f"config: warm_up.noise is {self.noise}, random {self.random}; give 0 or more, and 0 to 1"
            )


@dataclass(frozen=True)
class AgentConfig:
    """Everything that the training of an agent depends on. Steps are those of all environments together."""

    env: EnvConfig
    observation: ObservationConfig = field(default_factory=ObservationConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    warm_up: WarmUpConfig = field(default_factory=WarmUpConfig)
    steps: int = 50_000
    seed: int = 0
    device: str = "cpu"
    out: str = "runs/agent"  # the run folder; a named config gives runs/<name>
    log_every: int = 1_000
    eval_every: int = 5_000
    eval_episodes: int = 50
    save_every: int = 10_000

    def __post_init__(self) -> None:
        _at_least("", self, steps=1, log_every=1, eval_every=1, eval_episodes=1, save_every=1)
        kind, network = self.observation.kind, self.network.kind
        if kind == "particles" and self.observation.encoder is None:
            raise InputError(
                "config: observation.encoder is missing; add observation.encoder=RUN, the run of an image model"
            )
        if (kind == "pixels") != (network == "cnn"):
            fits = "cnn" if kind == "pixels" else "entity or flat"
            raise InputError(
                f"config: network.kind is {network}, observation.kind {kind}; give network.kind={fits}"
            )
        if self.reward.kind == "chamfer" and kind != "particles":
            raise InputError(
                f"config: reward.kind=chamfer is of particles, observation.kind is {kind}; "
                "give observation.kind=particles or reward.kind=environment"
            )


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> AgentConfig:
    """A config by name (a file in configs/agents) or path. Raises InputError as `dlp_dyn.config.load` does."""
    return settings.load_as(AgentConfig, FOLDER, name_or_path, overrides)


def read(path: Path, overrides: Sequence[str] = ()) -> AgentConfig:
    """A fully resolved config of a run folder, with overrides on top."""
    return settings.read_as(AgentConfig, path, overrides)


def _at_least(section: str, cfg: object, **least: int) -> None:
    for key, value in least.items():
        if getattr(cfg, key) < value:
            name = f"{section}.{key}" if section else key
            raise InputError(f"config: {name} is {getattr(cfg, key)}; the least is {value}")
