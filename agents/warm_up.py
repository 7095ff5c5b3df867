"""First steps, by a scripted or random policy, before learning begins."""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Shaped
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.config import WarmUpConfig
from agents.environments import AgentEnv
from dlp_dyn.data.collect import load_policy
from dlp_dyn.errors import InputError
from dlp_dyn.observation.observer import batch_of, with_rows
from dlp_dyn.progress import Tracker
from dlp_dyn.training.interrupt import Interrupt


class Players:
    """A policy for each environment, made anew for every episode; they see the environments' own observations.

    Raises InputError for noise on actions that are not continuous.
    """

    def __init__(self, cfg: WarmUpConfig, env: AgentEnv, seed: int) -> None:
        self.cfg, self.env = cfg, env
        self.rng = np.random.default_rng([seed, 1])
        self.space = copy.deepcopy(env.action_space)
        self.space.seed(int(self.rng.integers(2**31)))
        if cfg.noise and not isinstance(self.space, gym.spaces.Box):
            raise InputError(
                f"config: warm_up.noise is {cfg.noise}, for continuous actions; the environment has {self.space}: "
                "give warm_up.noise=0"
            )
        self.make = None if cfg.policy == "random" else load_policy(cfg.policy)
        self.policies: list[Any] = [None] * env.num_envs
        self.held: list[Any] = [None] * env.num_envs
        self.begin(np.ones(env.num_envs, bool))

    def begin(self, fresh: np.ndarray) -> None:
        """Episodes of these environments begin."""
        for i in np.flatnonzero(fresh):
            plays = self.make is not None and self.rng.random() >= self.cfg.random
            self.policies[i] = self.make(self.env.envs[i], self.rng) if plays and self.make else None
            self.held[i] = None

    def __call__(self) -> Shaped[np.ndarray, "E ..."]:
        """Actions of the environments' kind and range."""
        return np.stack([self._act(i) for i in range(self.env.num_envs)])

    def _act(self, i: int) -> np.ndarray:
        policy, raw = self.policies[i], self.env.raw[i]
        if policy is None:
            if self.held[i] is None or self.rng.random() < 1 / self.cfg.hold:
                self.held[i] = np.asarray(self.space.sample())
            return self.held[i]
        action = self.env.actions.from_env(policy(raw))
        if not isinstance(self.space, gym.spaces.Box):
            return action
        low, high = self.space.low, self.space.high
        noise = self.cfg.noise * (high - low) / 2 * self.rng.standard_normal(action.shape)
        return (action + noise).clip(low, high).astype(self.space.dtype)


def warm_up(model: BaseAlgorithm, cfg: WarmUpConfig, progress: Tracker, interrupt: Interrupt) -> None:
    """Fills the replay buffer of a new agent; the steps count as the agent's. It stops when interrupted.

    An algorithm without a buffer has none of this.
    """
    if not isinstance(model, OffPolicyAlgorithm):
        return
    env, buffer = model.env, model.replay_buffer
    assert isinstance(env, AgentEnv)
    assert buffer is not None
    observation: Any = env.reset()
    players = Players(cfg, env, model.seed or 0)
    for _ in range(cfg.steps // env.num_envs):
        if interrupt.signum:
            return
        actions = players()
        now, rewards, dones, infos = env.step(actions)
        rows = np.flatnonzero(dones)
        reached: Any = now
        if rows.size:
            reached = with_rows(now, rows, batch_of([infos[i]["terminal_observation"] for i in rows]))
        buffer.add(observation, reached, model.policy.scale_action(actions), rewards, dones, infos)
        observation = now
        players.begin(dones)
        model.num_timesteps += env.num_envs
        progress.advance(env.num_envs, "warm-up")
    model._last_obs = observation
    model._last_episode_starts = np.zeros(env.num_envs, bool)
