"""An agent on its way, with what it sees and learns with: saved and evaluated."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agents import checkpoint, spaces
from agents.checkpoint import Score
from agents.config import AgentConfig
from agents.environments import AgentEnv
from agents.evaluate import play
from agents.learner import Learner
from dlp_dyn import folders
from dlp_dyn.checkpoint import TRAINING_STATE
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.settings import to_yaml
from dlp_dyn.sharing.weights import to_bytes

EVALUATION_SEED = 20_000  # beside those of the training


@dataclass
class Agent:
    """extras: files that every checkpoint holds besides. score: the best one so far."""

    cfg: AgentConfig
    learner: Learner
    encoder: ParticleEncoder | None
    extras: dict[str, bytes]
    score: Score = checkpoint.NO_SCORE

    def save(self, name: str) -> None:
        """Write a checkpoint in place of an earlier one: `best` is to be used, `last` is also to go on from.

        Raises InputError when it cannot be written.
        """
        contents: dict[str, Any] = {
            checkpoint.WEIGHTS: to_bytes(self.learner.weights()),
            checkpoint.FACTS: (json.dumps(self._facts(), indent=2) + "\n").encode(),
            checkpoint.CONFIG: to_yaml(self.cfg).encode(),
            **self.extras,
        }
        if name == "last":
            state = self.learner.state()
            contents |= {
                TRAINING_STATE: lambda stream: torch.save(state, stream),
                **self.learner.files(),
            }
        folders.write(Path(self.cfg.out) / "checkpoints" / name, contents)

    def _facts(self) -> dict[str, Any]:
        observations, actions = self.learner.spaces
        encoder = self.encoder
        return {
            "version": checkpoint.VERSION,
            "step": self.learner.step,
            "score": list(self.score),
            "encoder": None if encoder is None else encoder.run,
            "encoder_hash": None if encoder is None else encoder.hash,
            "columns": [] if encoder is None else list(encoder.layout.columns),
            "observations": spaces.to_json(observations),
            "actions": spaces.to_json(actions),
        }

    def evaluate(self, env: AgentEnv) -> dict[str, float]:
        """Metrics of episodes that are always the same; the best agent is kept."""
        record = play(self.learner.actor, env, self.cfg.eval_episodes, EVALUATION_SEED + self.cfg.seed)
        if record.score >= self.score:
            self.score = record.score
            self.save("best")
        return record.figures()
