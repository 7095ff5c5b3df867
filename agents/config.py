"""Configs of agents: frozen dataclasses <- YAML in configs/agents <- `section.key=value`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from agents.foreground import ForegroundConfig
from agents.networks import EntityConfig
from agents.replay import Storage
from agents.rewards import ChamferConfig
from agents.td3 import Exploration
from dlp_dyn import settings
from dlp_dyn.config import Tracker
from dlp_dyn.errors import InputError
from dlp_dyn.settings import (
    Count,
    Fraction,
    Natural,
    NonNegative,
    Pattern,
    Positive,
    Seed,
    at_least,
    between,
)

FOLDER = settings.CONFIGS / "agents"

Kind = Literal["particles", "state", "pixels"]
NUMBER = r"\d+(\.\d*)?(e[+-]?\d+)?"
ENTROPY = rf"auto|(auto_)?{NUMBER}"


@dataclass(frozen=True)
class EnvConfig:
    """A Gymnasium environment, with goals or without."""

    id: str
    """a Gymnasium id, or module:Id: as `dlp-dyn collect` names it."""
    settings: dict[str, Any] = field(default_factory=dict)
    """arguments of the environment: such as n_objects, reward."""
    pixel_settings: dict[str, Any] = field(default_factory=dict)
    """arguments of the environment: more of them, where pictures are looked at."""
    training_settings: dict[str, Any] = field(default_factory=dict)
    """arguments of the environment: other ones while the agent learns, but not where it is evaluated: a curriculum."""
    n_envs: Count = 8
    """Environments that play at the same time, in this process; their frames are encoded in one batch."""


@dataclass(frozen=True)
class ObservationConfig:
    """What the agent sees of `observation` and, where there are goals, of `desired_goal`."""

    kind: Kind = "particles"
    """`particles` of the pictures, those `pixels` themselves, or the `state` that the environment gives."""
    encoder: str | None = None
    """a run folder, checkpoint folder or Hub id: the image model that finds the particles; of a Soft-IntroVAE of images
    the code of the whole picture is one particle."""
    images: dict[str, str] = field(
        default_factory=lambda: {"observation": "pixels", "desired_goal": "goal_pixels"}
    )
    """names: of the agent's observation, and the environment's pictures that they come from; does not count where the
    observation is one picture."""
    track: bool = False
    """Particles keep their slots within an episode."""
    stack: Count = 1
    """Steps that are seen at once; more show velocities."""
    normalizer: str | None = None
    """a file, or null: mean and scale of each column; null fits them to frames of the warm-up policy."""
    normalizer_frames: Annotated[int, at_least(16)] = 512
    """How many frames that are."""


@dataclass(frozen=True)
class NetworkConfig:
    """The network of actor and critic."""

    kind: Literal["entity", "flat", "cnn"] = "entity"
    """`entity`: the entity interaction transformer. `flat`: a perceptron over all numbers. `cnn`: SB3's for pixels."""
    entity: EntityConfig = field(default_factory=EntityConfig)
    flat: tuple[Count, ...] = (256, 256)
    """widths: the perceptron of flat, and the one behind the convolutions of cnn."""


@dataclass(frozen=True)
class Td3Config:
    """What is TD3's own; see `GoalTD3`."""

    policy_delay: Count = 2
    """Critic updates for each one of the actor."""
    target_noise: NonNegative = 0.2
    """Noise on the actions of targets, which smooths values."""
    noise_clip: NonNegative = 0.5
    """Where that noise ends."""
    action_l2: NonNegative = 0.0
    """Price of large actions; ECRL's is 1."""
    q_range: bool = False
    """Clips target values to those that are possible for rewards in [-1, 0]."""
    lower_bound: bool = False
    """Target values are no less than what the episode went on to get; for worlds without chance, rewards in [-1, 0] and
    goals that stay reached."""
    target_update: Literal["step", "cycle"] = "step"
    """Target networks move with each actor update, or once a round of updates."""
    imitation: NonNegative = 0.0
    """Pull towards the actions in the replay buffer; for buffers that begin with good play."""
    imitation_until: Annotated[int, at_least(0, "steps")] = 0
    """By when that pull has fallen to 0; 0 keeps it."""
    identity: NonNegative = 0.0
    """Weight of the cross-entropy of telling which goal is whose, where that is known: of goals that a later step of
    the episode achieved, whose rows are the observation's. For `network.entity.interaction=pairs`."""
    exploration: Exploration = field(default_factory=Exploration)


@dataclass(frozen=True)
class SacConfig:
    """What is SAC's own."""

    entropy: Annotated[str, Pattern(ENTROPY, "a number, 0 or more, auto, or auto_0.1 to begin there")] = (
        "auto"
    )
    """a number, auto, or auto_0.1 to begin there: weight of the entropy; larger explores more."""


@dataclass(frozen=True)
class PpoConfig:
    """What is PPO's own."""

    n_steps: Count = 128
    """Steps of every environment between updates."""
    n_epochs: Count = 4
    """Passes over them."""
    gae_lambda: Fraction = 0.95
    """From one-step advantages to whole returns."""
    clip_range: Positive = 0.2
    """How far an update may move the policy."""
    entropy: NonNegative = 0.0
    """Weight of the entropy; larger explores more."""
    max_grad_norm: Positive = 0.5
    """Longer gradients are cut to this length."""


@dataclass(frozen=True)
class IqlConfig:
    """What is IQL's own (arXiv 2110.06169)."""

    expectile: Annotated[float, between(0.5, 1, "most")] = 0.9
    """How far above the mean of the actions that were played a state is valued."""
    temperature: NonNegative = 3.0
    """How much better actions count for more; 0 is behaviour cloning."""
    other_goals: Fraction = 0.3
    """Share of samples whose goal is a moment of any episode; values have to know what is far."""


@dataclass(frozen=True)
class FlowConfig:
    """What is flow matching's own."""

    block: Count = 1
    """Actions that are learnt together; the first one is played, and the error of the others takes from what is learnt
    of it."""
    steps: Count = 8
    """Steps from noise to a block."""


@dataclass(frozen=True)
class AlgorithmConfig:
    """An algorithm of Stable-Baselines3, or one that learns from data alone."""

    kind: Literal["td3", "sac", "ppo", "bc", "iql", "flow"] = "td3"
    """`td3` and `sac` keep a replay buffer and need continuous actions; `ppo` takes discrete ones too. From `data`
    alone: behaviour cloning (`bc`), `iql`, and flow matching over blocks of actions (`flow`)."""
    lr: Positive = 5e-4
    """Learning rate."""
    gamma: Annotated[float, between(0, 1, "most")] = 0.98
    """Discount; 1 / (1 - gamma) steps should cover an episode's task."""
    batch_size: Count = 256
    """Transitions an update."""
    tau: Fraction = 0.005
    """How far target networks follow at each move."""
    train_every: Count = 1
    """Steps of every environment between rounds of updates; not of PPO."""
    gradient_steps: Annotated[int, at_least(-1)] = -1
    """Updates a round; -1 makes as many as steps were made."""
    buffer_size: Count = 100_000
    """Transitions that the replay buffer holds; what it takes is printed at the start."""
    td3: Td3Config = field(default_factory=Td3Config)
    sac: SacConfig = field(default_factory=SacConfig)
    ppo: PpoConfig = field(default_factory=PpoConfig)
    iql: IqlConfig = field(default_factory=IqlConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)

    @property
    def offline(self) -> bool:
        """Whether it learns from data alone."""
        return self.kind in ("bc", "iql", "flow")

    def __post_init__(self) -> None:
        if self.gradient_steps == 0:
            raise InputError("config: algorithm.gradient_steps is 0; give 1 or more, or -1")


@dataclass(frozen=True)
class ReplayConfig:
    """Replay of goals."""

    her: Fraction = 0.8
    """Share of samples whose goal is a later step of their episode; sparse rewards need it."""
    unreached: bool = False
    """Three quarters of those goals are ones that the step has not reached already, where there are any: from the
    others nothing is learnt of how to move things."""
    each: Fraction = 0.0
    """Share of those goals that are put together, every object's from another step; of states."""
    kept: Fraction = 0.0
    """In goals that are put together, the share of objects that keep the goal of their episode: without it an agent of
    several objects hardly sees one arrive while another is away."""
    dtype: Storage | None = "float16"
    """How particles are stored; null as they come. States and pixels stay as they are."""


@dataclass(frozen=True)
class RewardConfig:
    """Where the reward comes from."""

    kind: Literal["environment", "chamfer"] = "environment"
    """`environment`: its own, from ground truth. `chamfer`: of particles alone, of those that `foreground` picks."""
    chamfer: ChamferConfig = field(default_factory=ChamferConfig)
    foreground: ForegroundConfig = field(default_factory=ForegroundConfig)
    foreground_steps: Count = 2000
    """Steps of random actions that the filter is fitted to."""


@dataclass(frozen=True)
class WarmUpConfig:
    """Steps before learning begins, of a policy that sees the environment's own observation."""

    steps: Natural = 1000
    """How many."""
    policy: str = "random"
    """random, or module:name: who plays, as for `dlp-dyn collect`."""
    noise: NonNegative = 0.0
    """Width of Gaussian noise on its actions, which are counted in [-1, 1]."""
    random: Fraction = 0.0
    """Share of episodes that play uniform actions instead."""
    hold: Count = 1
    """Steps that a uniform action is held, on average; held ones cross the world and touch things."""


@dataclass(frozen=True)
class DataConfig:
    """What agents learn from that do not play."""

    path: str | None = None
    """a rollout file, or a folder of them: demonstrations; for `bc`, `iql` and `flow`."""


@dataclass(frozen=True)
class AgentConfig:
    """Everything that the training of an agent depends on.

    Steps are those of all environments together; of agents that learn from data, updates.
    """

    env: EnvConfig
    data: DataConfig = field(default_factory=DataConfig)
    observation: ObservationConfig = field(default_factory=ObservationConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    warm_up: WarmUpConfig = field(default_factory=WarmUpConfig)
    init: str | None = None
    """a run or checkpoint folder: an agent whose weights learning begins with; it may have had other objects."""
    steps: Count = 50_000
    """Environment steps, those of the warm-up among them; from data, updates."""
    seed: Seed = 0
    """Of weights, environments and noise."""
    device: Annotated[str, Pattern(r"cpu|cuda(:\d+)?", "cpu, cuda or cuda:1")] = "cpu"
    """cpu or cuda: where it trains."""
    out: str = "runs/agent"
    """a folder: the run folder; a named config gives runs/NAME."""
    log_every: Annotated[int, at_least(1, "steps")] = 1_000
    """Between lines of the log."""
    log_with: Tracker = "tensorboard"
    """What shows the log beside metrics.jsonl: TensorBoard's events in the run folder, trackio or Weights & Biases (the
    extras `trackio` and `wandb`)."""
    eval_every: Annotated[int, at_least(1, "steps")] = 5_000
    """Between evaluations; the best agent is kept."""
    eval_episodes: Count = 50
    """Episodes of each of them."""
    save_every: Annotated[int, at_least(1, "steps")] = 10_000
    """Between checkpoints to go on from."""

    def __post_init__(self) -> None:
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
        if self.network.entity.values == "each" and (self.algorithm.kind, kind, network) != (
            "td3",
            "state",
            "entity",
        ):
            raise InputError(
                "config: network.entity.values=each is of TD3 on states with entities; give "
                "network.entity.values=set, or algorithm.kind=td3 observation.kind=state network.kind=entity"
            )
        if self.algorithm.td3.identity:
            if (
                self.algorithm.kind != "td3"
                or network != "entity"
                or self.network.entity.interaction != "pairs"
            ):
                raise InputError(
                    "config: algorithm.td3.identity is of TD3 with pairs of entities; give algorithm.td3.identity=0, "
                    "or network.entity.interaction=pairs"
                )
            if kind == "particles" and not self.observation.track:
                raise InputError(
                    "config: algorithm.td3.identity needs rows that follow things; give observation.track=true"
                )
        learner = self.algorithm.kind
        reads = ("entity",) if learner == "iql" else ("entity", "cnn")
        if self.algorithm.offline and network not in reads:
            raise InputError(
                f"config: algorithm.kind is {learner}, network.kind {network}; give network.kind={' or '.join(reads)}"
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
