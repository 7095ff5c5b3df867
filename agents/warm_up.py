"""First steps, by a scripted or random policy, before learning begins."""

from typing import Any

import numpy as np
from jaxtyping import Float
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.config import WarmUpConfig
from agents.environments import AgentEnv
from dlp_dyn.data.collect import load_policy
from dlp_dyn.observation.observer import batch_of, with_rows
from dlp_dyn.progress import Tracker


class Players:
    """A policy for each environment, made anew for every episode; they see the environments' own observations."""

    def __init__(self, cfg: WarmUpConfig, env: AgentEnv, seed: int) -> None:
        self.cfg, self.env = cfg, env
        self.rng = np.random.default_rng([seed, 1])
        self.make = None if cfg.policy == "random" else load_policy(cfg.policy)
        self.policies: list[Any] = [None] * env.num_envs
        self.begin(np.ones(env.num_envs, bool))

    def begin(self, fresh: np.ndarray) -> None:
        """Episodes of these environments begin."""
        for i in np.flatnonzero(fresh):
            plays = self.make is not None and self.rng.random() >= self.cfg.random
            self.policies[i] = self.make(self.env.envs[i], self.rng) if plays and self.make else None

    def __call__(self) -> Float[np.ndarray, "E A"]:
        """Actions, counted in [-1, 1]."""
        space = self.env.action_space
        actions = self.rng.uniform(-1, 1, (self.env.num_envs, *space.shape))  # pyright: ignore
        for i, policy in enumerate(self.policies):
            if policy is not None:
                low, high = space.low, space.high  # pyright: ignore
                action = 2 * (np.asarray(policy(self.env.raw[i])) - low) / (high - low) - 1
                actions[i] = action + self.cfg.noise * self.rng.standard_normal(action.shape)
        return actions.clip(-1, 1).astype(np.float32)


def warm_up(model: OffPolicyAlgorithm, cfg: WarmUpConfig, progress: Tracker) -> None:
    """Fills the replay buffer of a new agent; the steps count as the agent's."""
    env, buffer = model.env, model.replay_buffer
    assert isinstance(env, AgentEnv)
    assert buffer is not None
    observation: Any = env.reset()
    players = Players(cfg, env, model.seed or 0)
    for _ in range(cfg.steps // env.num_envs):
        actions = players()
        now, rewards, dones, infos = env.step(env.unscaled(actions))
        rows = np.flatnonzero(dones)
        reached: Any = now
        if rows.size:
            reached = with_rows(now, rows, batch_of([infos[i]["terminal_observation"] for i in rows]))
        buffer.add(observation, reached, actions, rewards, dones, infos)
        observation = now
        players.begin(dones)
        model.num_timesteps += env.num_envs
        progress.advance(env.num_envs, "warm-up")
    model._last_obs = observation
    model._last_episode_starts = np.zeros(env.num_envs, bool)
