"""A saved agent: weights and plain values, from which its networks are built again. Nothing in it is run on loading.

RUN/checkpoints/{last,best}/agent.safetensors      weights
                            agent.json             spaces, encoder (path, hash), columns of particles, step, score
                            config.yaml            the run's config
                            normalizer.json        where it sees particles
                            foreground.json        where it learns from the Chamfer reward
                            training_state.pt, replay.npz    only in `last`: what going on needs
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
from torch import Tensor, nn

from agents import config, spaces
from agents.algorithms import build_policy
from agents.config import AgentConfig
from dlp_dyn import folders
from dlp_dyn.errors import InputError, reading
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.observation.normalizer import Normalizer
from dlp_dyn.settings import parse_json
from dlp_dyn.sharing.weights import load_into, read_tensors

VERSION = 2
WEIGHTS, FACTS, CONFIG, NORMALIZER = "agent.safetensors", "agent.json", "config.yaml", "normalizer.json"
FOREGROUND, REPLAY = "foreground.json", "replay.npz"
ZIP = "agent.zip"  # of earlier versions

Score = tuple[float, float]  # success (0 where it is not told) and return
NO_SCORE: Score = (-math.inf, -math.inf)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder and what it says about its agent. spaces: of observations and actions."""

    folder: Path
    cfg: AgentConfig
    step: int
    score: Score
    encoder: str | None
    encoder_hash: str | None
    columns: tuple[str, ...]
    spaces: tuple[gym.Space, gym.Space]

    def load_encoder(self, other: str | None = None, device: str = "cpu") -> ParticleEncoder | None:
        """What the agent sees with, if it sees particles. other: where it lies now.

        Raises InputError when it is gone, or another one than the agent was trained with.
        """
        if self.encoder is None:
            return None
        path = other or self.encoder
        try:
            normalizer = Normalizer.load(self.folder / NORMALIZER)
            found = ParticleEncoder(path, device)
        except InputError as error:
            raise InputError(
                f"{self.folder}: cannot see: {error}; --encoder RUN says where it is now"
            ) from None
        if found.hash != self.encoder_hash:
            raise InputError(
                f"{path}: another encoder (hash {found.hash[:12]}) than this agent was trained with "
                f"({(self.encoder_hash or '')[:12]}, {self.encoder}); its particles would mean nothing to the agent"
            )
        if found.layout.columns != self.columns:
            raise InputError(f"{self.folder}: particles have other columns than {', '.join(self.columns)}")
        return ParticleEncoder(path, device, normalizer)


def find(run_or_checkpoint: str | Path, which: str = "best") -> Checkpoint:
    """The checkpoint of a run folder (`best` or else `last`, or the other way round), or of a checkpoint folder.

    Raises InputError when there is none, or it is damaged.
    """
    path = Path(run_or_checkpoint)
    order = ("best", "last") if which == "best" else ("last", "best")
    for folder in (path, *(folders.complete(path / "checkpoints" / name) for name in order)):
        if (folder / FACTS).is_file():
            return _read(folder)
    if not path.exists():
        raise InputError(f"{path}: no such run folder or checkpoint")
    raise InputError(f"{path}: holds no agent; give a run folder of python -m agents.train")


def load(checkpoint: Checkpoint, space: gym.Space[Any] | None = None, device: str = "cpu") -> nn.Module:
    """The agent, to act. space: of its observations, where it has another number of entities than in training.

    Raises InputError when its weights are gone or damaged, or the network cannot read that space.
    """
    observations, actions = checkpoint.spaces
    policy = build_policy(checkpoint.cfg, space or observations, actions, checkpoint.columns)
    fill(policy, checkpoint)
    return policy.to(device).eval()


def read_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The agent's weights by name. Raises InputError for a file that is gone or damaged."""
    return read_tensors(checkpoint.folder / WEIGHTS)[0]


def fill(policy: nn.Module, checkpoint: Checkpoint) -> None:
    """Copy the agent's weights into networks. Raises InputError for others than theirs, and for damaged ones."""
    load_into(policy, read_weights(checkpoint), checkpoint.folder, "its network is for other observations")


def _read(folder: Path) -> Checkpoint:
    file = folder / FACTS
    with reading(file, "damaged", "use another checkpoint of the run"):
        raw = parse_json(file.read_text())
        if raw.get("version") != VERSION:
            raise InputError(_refusal(folder, raw.get("version")))
        both = (spaces.from_json(raw["observations"]), spaces.from_json(raw["actions"]))
        success, gain = map(float, raw["score"])
        return Checkpoint(
            folder, config.read(folder / CONFIG), int(raw["step"]), (success, gain), raw["encoder"],
            raw["encoder_hash"], tuple(raw["columns"]), both,
        )  # fmt: skip


def _refusal(folder: Path, version: Any) -> str:
    """Why a checkpoint of another version is not opened, and what to do."""
    if (folder / ZIP).is_file():
        return (
            f"{folder}: an agent of an earlier version, in a zip that holds a pickle; "
            "python -m agents.older_checkpoints RUN --trust-zip makes today's of it, or train it again"
        )
    return f"{folder}: an agent of version {version}; install the dlp_dyn that wrote it, or train it again"
