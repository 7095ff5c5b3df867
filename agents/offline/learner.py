"""OfflineLearner: an agent that learns from data, an update at a time; environments only evaluate it."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from agents import algorithms, checkpoint, environments
from agents.checkpoint import Checkpoint
from agents.config import AgentConfig
from agents.environments import AgentEnv
from agents.offline import data, objectives
from agents.offline.data import Demonstrations, Steps
from agents.offline.policies import DataPolicy
from dlp_dyn.checkpoint import load_training_state
from dlp_dyn.objectives.base import Objective
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.training.state import check_moments, random_state, set_random_state, step_of
from dlp_dyn.training.step import TrainingStep


class OfflineLearner:
    """A round is one update of every network. env: of the agent's spaces and the reward."""

    def __init__(self, cfg: AgentConfig, env: AgentEnv, model: DataPolicy, shown: Demonstrations) -> None:
        self.cfg, self.env, self.model, self.shown = cfg, env, model.to(cfg.device), shown
        self.objective: Objective = objectives.build(cfg, self.model)
        self.optimizers = {
            update.name: torch.optim.Adam(update.parameters, lr=cfg.algorithm.lr, fused=True)
            for update in self.objective.updates()
        }
        self.update = TrainingStep(self.objective, self.optimizers)
        self.term_weights = self.objective.weights(self.objective.Weights())
        self.rng = np.random.default_rng([cfg.seed, 2])
        self.step = 0
        self._logged: list[dict[str, Tensor]] = []

    @classmethod
    def build(cls, cfg: AgentConfig, encoder: ParticleEncoder | None) -> "OfflineLearner":
        """A new agent and its data. Raises InputError where they do not go together."""
        env = environments.make(cfg, 1, encoder)
        shown = data.read(cfg, env, encoder)
        columns = () if encoder is None else encoder.layout.columns
        torch.manual_seed(cfg.seed)
        model = algorithms.build_policy(cfg, env.observation_space, env.action_space, columns)
        assert isinstance(model, DataPolicy)
        return cls(cfg, env, model, shown)

    @property
    def actor(self) -> DataPolicy:
        return self.model

    @property
    def spaces(self) -> tuple[gym.Space, gym.Space]:
        return self.env.observation_space, self.env.action_space

    def notes(self) -> list[str]:
        shown = self.shown
        return [
            f"{self.cfg.data.path}: {len(shown.steps):,} steps of {len(np.unique(shown.last)):,} episodes"
        ]

    def learn(self) -> None:
        self.step += 1
        logged = self.update([self._sample()], self.term_weights, self.step)
        if isinstance(self.objective, objectives.ImplicitQ):
            self.objective.follow()
        self._logged.append(logged)

    def _sample(self) -> Steps:
        cfg, kind = self.cfg, self.cfg.algorithm.kind
        return self.shown.sample(
            self.rng, self.env, cfg.algorithm.batch_size,
            block=cfg.algorithm.flow.block if kind == "flow" else 1,
            her=cfg.replay.her, other=cfg.algorithm.iql.other_goals if kind == "iql" else 0.0,
        ).to(cfg.device)  # fmt: skip

    def figures(self) -> dict[str, float]:
        rows, self._logged = self._logged, []
        return (
            {name: torch.stack([row[name] for row in rows]).mean().item() for name in rows[0]} if rows else {}
        )

    def weights(self) -> dict[str, Tensor]:
        return self.model.state_dict()

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "samples": self.rng.bit_generator.state,
            "random": random_state(),
        }

    def files(self) -> dict[str, Any]:
        return {}

    def begin_from(self, saved: Checkpoint) -> None:
        """Take over another agent's weights. Raises InputError for other networks."""
        checkpoint.fill(self.model, saved)

    def restore(self, saved: Checkpoint) -> list[str]:
        state = load_training_state(saved.folder)
        checkpoint.fill(self.model, saved)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            check_moments(optimizer)
        self.step, self.rng.bit_generator.state = step_of(state), state["samples"]
        set_random_state(state["random"])
        return []

    def close(self) -> None:
        self.env.close()
