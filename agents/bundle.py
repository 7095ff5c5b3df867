"""A saved agent: Stable-Baselines3's zip, and what its observations are made with.

RUN/checkpoints/{last,best}/agent.zip         policy, optimisers, counters
                            agent.json        encoder (path and hash), columns of its particles, step, score
                            config.yaml       the run's config
                            normalizer.json   where it sees particles
                            foreground.json   where it learns from the Chamfer reward
                            replay.npz, random.pt    only in `last`: what going on needs
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import gymnasium as gym
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents import config
from agents.algorithms import CLASSES
from agents.config import AgentConfig
from agents.environments import AgentEnv
from agents.replay import GoalReplayBuffer
from dlp_dyn import folders
from dlp_dyn.errors import InputError
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.observation.normalizer import Normalizer
from dlp_dyn.settings import to_yaml
from dlp_dyn.training.state import random_state, set_random_state

AGENT, FACTS, CONFIG, NORMALIZER = "agent.zip", "agent.json", "config.yaml", "normalizer.json"
FOREGROUND, REPLAY, RANDOM = "foreground.json", "replay.npz", "random.pt"
# They hold environments; `algorithms.replay` makes them anew.
NOT_SAVED = (
    "replay_buffer_class",
    "replay_buffer_kwargs",
    "_last_obs",
    "_last_original_obs",
    "ep_info_buffer",
)


@dataclass(frozen=True)
class Bundle:
    """A checkpoint folder and what it says about its agent."""

    folder: Path
    cfg: AgentConfig
    step: int
    score: float
    encoder: str | None
    encoder_hash: str | None
    columns: tuple[str, ...]

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


def save(
    folder: Path,
    model: BaseAlgorithm,
    cfg: AgentConfig,
    encoder: ParticleEncoder | None,
    score: float,
    extras: Mapping[str, bytes],
    going_on: bool,
) -> None:
    """Write a checkpoint folder in place of an earlier one. going_on: with replay buffer and random generators.

    extras: more files to put into it. Raises InputError when it cannot be written.
    """
    facts = {
        "step": model.num_timesteps,
        "score": score,
        "encoder": None if encoder is None else encoder.run,
        "encoder_hash": None if encoder is None else encoder.hash,
        "columns": [] if encoder is None else list(encoder.layout.columns),
    }
    # SB3's writer leaves a stream of its own making open, and a file that it did not open half written.
    zipped = io.BytesIO()
    model.save(zipped, exclude=NOT_SAVED)
    contents: dict[str, Any] = {
        AGENT: zipped.getvalue(),
        FACTS: (json.dumps(facts, indent=2) + "\n").encode(),
        CONFIG: to_yaml(cfg).encode(),
        **extras,
    }
    if going_on:
        contents[RANDOM] = lambda stream: torch.save(random_state(), stream)
        if isinstance(model, OffPolicyAlgorithm) and isinstance(model.replay_buffer, GoalReplayBuffer):
            contents[REPLAY] = model.replay_buffer.save
    folders.write(folder, contents)


def find(run_or_checkpoint: str | Path, which: str = "best") -> Bundle:
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


def load(bundle: Bundle, space: gym.Space[Any] | None = None, device: str = "cpu") -> BaseAlgorithm:
    """The agent, to act. space: of its observations, where it has another number of entities than in training.

    Raises InputError when the file is gone or damaged, or the network cannot read that space.
    """
    changes: dict[str, Any] = {} if space is None else {"observation_space": space}
    # Otherwise SB3 makes a replay buffer as large as in training.
    small = {"buffer_size": 1} if bundle.cfg.algorithm.kind != "ppo" else {}
    return _load(bundle, device, custom_objects=changes, **small)


def go_on(bundle: Bundle, env: AgentEnv, arguments: Mapping[str, Any], device: str = "cpu") -> BaseAlgorithm:
    """The agent, to learn on, with its replay buffer (if it has goals) and random generators.

    arguments: of the algorithm, that are not saved (`algorithms.replay`).
    """
    model = _load(bundle, device, env=env, **arguments)
    if isinstance(model, OffPolicyAlgorithm) and isinstance(model.replay_buffer, GoalReplayBuffer):
        model.replay_buffer.load(bundle.folder / REPLAY)
    file = bundle.folder / RANDOM
    try:
        set_random_state(torch.load(file, map_location="cpu", weights_only=True))
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise InputError(
            f"{file}: damaged or gone ({type(error).__name__}); this agent can be used, but not trained on"
        ) from None
    return model


def _load(bundle: Bundle, device: str, **settings: Any) -> BaseAlgorithm:
    file = bundle.folder / AGENT
    try:
        return CLASSES[bundle.cfg.algorithm.kind].load(file, device=device, **settings)
    except FileNotFoundError:
        raise InputError(
            f"{file}: no such file; was the checkpoint deleted? Use another one of the run"
        ) from None
    except (BadZipFile, EOFError, OSError, ValueError, RuntimeError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).strip().splitlines()[0][:120]
        raise InputError(
            f"{file}: cannot be loaded ({reason}); it is damaged, or its network is for other observations"
        ) from None


def _read(folder: Path) -> Bundle:
    file = folder / FACTS
    try:
        raw = json.loads(file.read_text())
        return Bundle(
            folder, config.read(folder / CONFIG), int(raw["step"]), float(raw["score"]), raw["encoder"],
            raw["encoder_hash"], tuple(raw["columns"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{file}: damaged ({type(error).__name__}); use another checkpoint of the run"
        ) from None
