"""Demonstrations: episodes of a rollout file as an agent sees them, and samples of steps with goals."""

from dataclasses import dataclass, fields, replace

import gymnasium as gym
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from agents.config import AgentConfig
from agents.environments import AgentEnv
from agents.selection import Selection
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Part
from dlp_dyn.errors import InputError
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.observation.observer import Observer

TOGETHER = 32  # episodes that are encoded at the same time


@dataclass(frozen=True)
class Steps:
    """A batch of steps. observation, goal: sets of entities or pictures; no goal where there are none. inside: which
    actions of a block the episode still has.

    reward: of the step; where goals are, -1 until the goal is reached, at which `done` is 1. led: the goal is one that
    the episode had or went on to reach, so that its actions lead there.
    """

    observation: Shaped[Tensor, "B ..."]
    goal: Shaped[Tensor, "B ..."] | None
    actions: Float[Tensor, "B H A"]
    inside: Bool[Tensor, "B H"]
    next_observation: Shaped[Tensor, "B ..."]
    reward: Float[Tensor, " B"]
    done: Float[Tensor, " B"]
    led: Bool[Tensor, " B"]

    def to(self, device: torch.device | str) -> "Steps":
        return replace(
            self, **{f.name: x.to(device) for f in fields(self) if (x := getattr(self, f.name)) is not None}
        )


@dataclass(frozen=True)
class Demonstrations:
    """Rows are moments, episode after episode; the step of a row leads to the next one, that of a last row nowhere.

    reachable: what a later row offers as a goal, if there are goals. goals: those of the episodes themselves, where
    the file has them. achieved, desired: the same as the environment's reward compares them. last: row of the episode.
    """

    observations: Shaped[np.ndarray, "T ..."]
    actions: Float[np.ndarray, "T A"]
    last: Int[np.ndarray, " T"]
    rewards: Float[np.ndarray, " T"]
    terminated: Bool[np.ndarray, " T"]
    reachable: Shaped[np.ndarray, "T ..."] | None = None
    goals: Shaped[np.ndarray, "T ..."] | None = None
    achieved: Float[np.ndarray, "T ..."] | None = None
    desired: Float[np.ndarray, "T ..."] | None = None

    @property
    def steps(self) -> Int[np.ndarray, " S"]:
        """Rows from which a step leads on."""
        return np.flatnonzero(np.arange(len(self.last)) < self.last)

    def sample(
        self,
        rng: np.random.Generator,
        env: AgentEnv,
        size: int,
        *,
        block: int = 1,
        her: float,
        other: float = 0.0,
    ) -> Steps:
        """Steps with equal chance.

        her: share whose goal is a later row of their episode; the others have the episode's own goal, where it is
        known. other: share whose goal is a row of any episode.
        """
        here = rng.choice(self.steps, size)
        ahead = here[:, None] + np.arange(block)
        actions = self.actions[np.minimum(ahead, self.last[here, None])]
        inside = ahead < self.last[here, None]
        goal, reward, done = None, self.rewards[here], self.terminated[here].astype(np.float32)
        led = np.ones(size, bool)
        if self.reachable is not None:
            goal, reward, led = self._goals(rng, env, here, her, other)
            done = (reward >= 0).astype(np.float32)
        tensors = (self.observations[here], actions, inside, self.observations[here + 1], reward, done, led)
        now, taken, real, then, gain, over, leads = map(torch.as_tensor, tensors)
        aim = None if goal is None else torch.as_tensor(goal)
        return Steps(now, aim, taken, real, then, gain.float(), over, leads)

    def _goals(
        self, rng: np.random.Generator, env: AgentEnv, here: Int[np.ndarray, " B"], her: float, other: float
    ) -> tuple[Shaped[np.ndarray, "B ..."], Float[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """A goal for each step, its reward, and whether the episode's actions lead there."""
        assert self.reachable is not None
        chance = rng.random(len(here))
        row = rng.integers(here + 1, self.last[here] + 1)
        led = chance >= other
        row = np.where(led, row, rng.integers(0, len(self.last), len(here)))
        own = (chance >= other + (1 - other) * her) if self.goals is not None else np.zeros(len(here), bool)
        goal = self.reachable[row]
        if self.goals is not None:
            goal = np.where(own[:, None, None], self.goals[here], goal)
        if self.achieved is None or self.desired is None:
            return goal, np.where(row == here + 1, 0.0, -1.0).astype(np.float32), led
        apart = (-1,) + (1,) * (self.achieved.ndim - 1)
        wanted = np.where(own.reshape(apart), self.desired[here], self.achieved[row])
        return goal, env.compute_reward(self.achieved[here + 1], wanted).astype(np.float32), led


def read(
    cfg: AgentConfig, env: AgentEnv, encoder: ParticleEncoder | None, part: Part = "train"
) -> Demonstrations:
    """The episodes of a part of `cfg.data.path` as the agent in `env` would have seen them.

    Raises InputError for a file without actions or what the agent sees, and for observations, goals or actions of
    another shape than the environment's.
    """
    path = cfg.data.path
    if path is None:
        raise InputError(
            f"config: algorithm.kind={cfg.algorithm.kind} learns from data; add data.path=FILE, rollouts of "
            f"{cfg.env.id}"
        )
    rollouts = Rollouts(path)
    episodes = rollouts.part(part)
    if not len(episodes):
        raise InputError(f"{path}: no episode in the {part} part; add episodes")
    starts, stops = rollouts.episode_starts[episodes].tolist(), rollouts.episode_ends[episodes].tolist()
    rows = np.concatenate([np.arange(begin, end) for begin, end in zip(starts, stops, strict=True)])
    lengths = rollouts.episode_lengths[episodes]
    ends = np.cumsum(lengths)

    def column(name: str, else_: np.ndarray) -> np.ndarray:
        return rollouts.column(name)[rows] if name in rollouts.column_names else else_

    nothing = np.zeros(0, np.float32)
    achieved, desired = (column(f"observations/{name}_goal", nothing) for name in ("achieved", "desired"))
    states = env.states is not None and len(achieved) and achieved.shape[1:] == env.states
    if cfg.observation.kind == "pixels":
        assert isinstance(env.look, Selection)
        observations = reachable = env.look.picture(rollouts.frames(rows))
        goals = None
    elif encoder is None:
        observations, reachable, goals = column("observations/observation", nothing), achieved, desired
        if not len(observations):
            raise InputError(
                f"{path}: no observations/observation, which an agent of states learns from; collect it from the "
                "environment with dlp-dyn collect"
            )
    else:
        observations = _particles(cfg, rollouts, rows, ends - lengths, lengths, encoder)
        reachable, goals = observations, None
    if not isinstance(env.observation_space, gym.spaces.Dict):
        reachable = goals = None
    _check(path, env, observations, reachable)
    return Demonstrations(
        observations,
        _actions(rollouts, rows, env),
        np.repeat(ends - 1, lengths),
        column("rewards", np.zeros(len(rows), np.float32)),
        column("terminated", np.zeros(len(rows), bool)),
        reachable,
        goals,
        achieved if states else None,
        desired if states else None,
    )


def _particles(
    cfg: AgentConfig,
    rollouts: Rollouts,
    rows: Int[np.ndarray, " T"],
    starts: Int[np.ndarray, " E"],
    lengths: Int[np.ndarray, " E"],
    encoder: ParticleEncoder,
) -> Float[np.ndarray, "T N D"]:
    """Frames as the wrapper would have shown them, many episodes side by side."""
    picture = gym.spaces.Box(0, 255, (*rollouts.image_size, 3), np.uint8)
    n, o = min(TOGETHER, len(starts)), cfg.observation
    seen: np.ndarray | None = None
    for first in range(0, len(starts), n):
        begin, length = starts[first : first + n], lengths[first : first + n]
        look = Observer(picture, encoder, n_envs=n, track=o.track, stack=o.stack)
        for t in range(int(length.max())):
            on = np.flatnonzero(t < length)
            packed = look.observe(rollouts.frames(rows[begin[on] + t]), on)
            if seen is None:
                seen = np.zeros((len(rows), *packed.shape[1:]), np.float32)
            seen[begin[on] + t] = packed
    assert seen is not None
    return seen


def _actions(rollouts: Rollouts, rows: Int[np.ndarray, " T"], env: AgentEnv) -> Float[np.ndarray, "T A"]:
    """Between -1 and 1, as networks give them."""
    space = env.action_space
    if not rollouts.has_actions:
        raise InputError(
            f"{rollouts.path}: no actions, which an agent learns from; give rollouts of an environment"
        )
    if not isinstance(space, gym.spaces.Box):
        raise InputError(
            f"{env.envs[0]}: actions are {space}; agents that learn from data take continuous ones: use "
            "algorithm.kind=ppo"
        )
    actions, low, high = rollouts.column("actions")[rows], space.low.ravel(), space.high.ravel()
    if actions.shape[1:] != low.shape:
        raise InputError(
            f"{rollouts.path}: actions of {actions.shape[1]} numbers, the environment's have {len(low)}; give "
            "rollouts of this environment"
        )
    return (2 * (actions - low) / (high - low) - 1).clip(-1, 1).astype(np.float32)


def _check(path: str, env: AgentEnv, observations: np.ndarray, reachable: np.ndarray | None) -> None:
    space = env.observation_space
    spaces = space.spaces if isinstance(space, gym.spaces.Dict) else {"observation": space}
    found = {"observation": observations, "desired_goal": reachable}
    for key, inner in spaces.items():
        shape = None if found.get(key) is None else found[key].shape[1:]
        if shape != inner.shape:
            raise InputError(
                f"{path}: {key} is {shape or 'missing'}, the environment's is {inner.shape}: give rollouts of this "
                "environment, or its settings"
            )
