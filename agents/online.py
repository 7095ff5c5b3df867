"""OnlineLearner: an algorithm of Stable-Baselines3, one round at a time."""

import operator
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from torch import Tensor

from agents import algorithms, checkpoint, environments, stored_replay
from agents.checkpoint import Checkpoint
from agents.config import AgentConfig
from agents.environments import AgentEnv
from agents.replay import GoalReplayBuffer
from agents.rewards import ChamferReward
from agents.td3 import GoalTD3
from dlp_dyn.checkpoint import load_training_state
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.observation.observer import with_rows
from dlp_dyn.training.state import check_moments, random_state, set_random_state, step_of


class OnlineLearner:
    """A round is what lies between two calls of the algorithm's `train`; between rounds nothing is half done.

    So what is saved there goes on to the last bit, where environments can be played again (`AgentEnv.restore`).
    """

    def __init__(self, cfg: AgentConfig, algorithm: BaseAlgorithm, env: AgentEnv) -> None:
        self.cfg, self.algorithm, self.env = cfg, algorithm, env
        algorithm.set_logger(Logger(None, []))
        self.seconds = 0.0  # of learning

    @classmethod
    def build(
        cls, cfg: AgentConfig, encoder: ParticleEncoder | None, reward: ChamferReward | None
    ) -> "OnlineLearner":
        """A new agent in its environments. Raises InputError where they do not go together."""
        env = environments.make(cfg, cfg.env.n_envs, encoder, cfg.env.training_settings, reward)
        columns = () if encoder is None else encoder.layout.columns
        return cls(cfg, algorithms.build(cfg, env, columns), env)

    def notes(self) -> list[str]:
        cfg, lines = self.cfg, [algorithms.replay_memory(self.algorithm)]
        if cfg.observation.kind == "particles" and cfg.network.kind == "flat" and not cfg.observation.track:
            lines.append(
                "network.kind=flat on particles whose slots have no meaning: a baseline that cannot work well"
            )
        return lines

    def close(self) -> None:
        self.env.close()

    @property
    def actor(self) -> BaseAlgorithm:
        return self.algorithm

    @property
    def step(self) -> int:
        return self.algorithm.num_timesteps

    @property
    def spaces(self) -> tuple[gym.Space, gym.Space]:
        return self.env.observation_space, self.env.action_space

    def learn(self) -> None:
        algorithm, quiet = self.cfg.algorithm, cast(Any, None)  # SB3 takes it, though it does not say so
        steps = algorithm.ppo.n_steps if algorithm.kind == "ppo" else algorithm.train_every
        begun = time.perf_counter()
        self.algorithm.learn(steps * self.env.num_envs, log_interval=quiet, reset_num_timesteps=False)
        self.seconds += time.perf_counter() - begun

    def figures(self) -> dict[str, float]:
        """What SB3 noted of its updates, and how the episodes went."""
        model, noted = self.algorithm, self.algorithm.logger.name_to_value
        row = {k.removeprefix("train/"): float(v) for k, v in noted.items() if "train/" in k}
        row["looking"] = self.env.seconds_looking / max(self.seconds, 1e-9)  # share of the time
        if model.ep_success_buffer:
            row["success_while_exploring"] = float(np.mean(model.ep_success_buffer))
        if model.ep_info_buffer:
            row["return_while_exploring"] = float(np.mean([e["r"] for e in model.ep_info_buffer]))
        return row

    def weights(self) -> dict[str, Tensor]:
        return self.algorithm.get_parameters()["policy"]

    def state(self) -> dict[str, Any]:
        model = self.algorithm
        return {
            "step": model.num_timesteps,
            "updates": model._n_updates,
            "optimizers": {k: v for k, v in model.get_parameters().items() if k != "policy"},
            "entropy": _entropy(model),
            "random": random_state(),
            "held": _mapped(torch.as_tensor, getattr(model, "held", None)),
            "environments": self.env.state(),
            "seen": _mapped(torch.as_tensor, model._last_obs),
            "starts": _mapped(torch.as_tensor, model._last_episode_starts),
            "episodes": list(model.ep_info_buffer or []),
            "successes": [bool(x) for x in model.ep_success_buffer or []],
        }

    def files(self) -> dict[str, Any]:
        buffer = getattr(self.algorithm, "replay_buffer", None)
        if buffer is None:
            return {}
        write = (
            buffer.save if isinstance(buffer, GoalReplayBuffer) else partial(stored_replay.save_plain, buffer)
        )
        return {checkpoint.REPLAY: write}

    def begin_from(self, saved: Checkpoint) -> None:
        """Take over another agent's weights, those of target networks too. Raises InputError for other networks."""
        checkpoint.fill(self.algorithm.policy, saved)

    def restore(self, saved: Checkpoint) -> list[str]:
        """Bring back what was saved; gives what could not be, in words.

        Raises InputError for files that are gone, damaged, or of other settings.
        """
        model, state = self.algorithm, load_training_state(saved.folder)
        checkpoint.fill(model.policy, saved)
        parameters: Any = {"policy": model.policy.state_dict(), **state["optimizers"]}
        model.set_parameters(parameters)
        for name in state["optimizers"]:
            check_moments(operator.attrgetter(name)(model))
        if (entropy := _entropy(model)) is not None:
            entropy.data.copy_(state["entropy"])
        self.env.seconds_looking = 0.0
        model.num_timesteps, model._n_updates = step_of(state), state["updates"]
        model.ep_info_buffer = deque(state["episodes"], model._stats_window_size)
        model.ep_success_buffer = deque(state["successes"], model._stats_window_size)
        if isinstance(model, GoalTD3):
            model.held = _mapped(Tensor.numpy, state["held"])
        lost, file = [], saved.folder / checkpoint.REPLAY
        if isinstance(model, OffPolicyAlgorithm):
            assert model.replay_buffer is not None
            if isinstance(model.replay_buffer, GoalReplayBuffer):
                model.replay_buffer.load(file)
            else:
                stored_replay.load_plain(model.replay_buffer, file)
        if state["seen"] is not None and (n := self._play_on(state)):
            lost.append(f"{n} of {self.env.num_envs} running episodes begin anew")
        set_random_state(state["random"])
        return lost

    def _play_on(self, state: Mapping[str, Any]) -> int:
        """Brings environments to where they were; gives how many could not be brought there."""
        model, env = self.algorithm, self.env
        seen, starts = _mapped(Tensor.numpy, state["seen"]), state["starts"].numpy()
        fresh = env.restore(state["environments"])
        if fresh.size:
            seen, starts[fresh] = with_rows(seen, fresh, env.look_again(fresh)), True
            if isinstance(buffer := getattr(model, "replay_buffer", None), GoalReplayBuffer):
                buffer.end_episodes(fresh)
        model._last_obs, model._last_episode_starts = seen, starts
        return fresh.size


def _entropy(model: BaseAlgorithm) -> Tensor | None:
    """The weight of the entropy, where it is learnt."""
    return model.log_ent_coef if isinstance(model, SAC) and model.ent_coef_optimizer is not None else None


def _mapped(convert: Callable[[Any], Any], observation: Any) -> Any:
    """An observation, or each entry of one, converted; None stays."""
    if isinstance(observation, dict):
        return {key: convert(values) for key, values in observation.items()}
    return None if observation is None else convert(observation)
