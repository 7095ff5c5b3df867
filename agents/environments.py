"""Environments for Stable-Baselines3: several in one process, looked at together."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float, Int, UInt8
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from agents.config import AgentConfig
from dlp_dyn.data.collect import make_env
from dlp_dyn.errors import InputError
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.observation.observer import Batch, Observer, batch_of, one_of, with_rows

Rows = Int[np.ndarray, " R"]
Reward = Callable[[np.ndarray, np.ndarray], Float[np.ndarray, " B"]]

# What was reached and what should have been: for rewards, never for the agent's eyes.
STATES = {"achieved_state": "achieved_goal", "desired_state": "desired_goal"}


class Selection:
    """Observations as they are: the entries of a Dict under new names, pictures with their channels first."""

    def __init__(self, space: gym.Space[Any], keys: Mapping[str, str]) -> None:
        self.keys = dict(keys)
        if not isinstance(space, gym.spaces.Dict):
            self.space: gym.Space[Any] = _channels_first(space)
            return
        for key in self.keys.values():
            if key not in space.spaces:
                raise InputError(
                    f"observation: no key '{key}' in the environment's; there are {', '.join(space)}"
                )
        self.space = gym.spaces.Dict({new: _channels_first(space[old]) for new, old in self.keys.items()})

    def reset(self, rows: Rows | None = None) -> None:
        """As Observer's; nothing is remembered."""

    def observe(self, batch: Batch, rows: Rows | None = None) -> Batch:  # noqa: ARG002 - as Observer's
        if not isinstance(batch, dict):
            return _first(batch)
        return {new: _first(batch[old]) for new, old in self.keys.items()}

    def observe_ends(self, last: Batch, rows: Rows, batch: Batch) -> tuple[Batch, Batch]:  # noqa: ARG002
        return self.observe(last), self.observe(batch)


Look = Observer | Selection  # how raw observations become those of the agent


class AgentEnv(VecEnv):
    """Environments that play in turn and are looked at in one batch a step, last observations of episodes with it.

    Where there are goals, the observation has `observation` and `desired_goal`, and infos have `achieved_state` and
    `desired_state`: what the environment's own reward is of. Infos never hold pictures. `raw` are the environments'
    own observations, for scripted policies. reward: of the agent's `observation` and `desired_goal`, in place of the
    environment's. seconds_looking: spent on `look`, which for particles is the encoder's time.
    """

    def __init__(self, envs: Sequence[gym.Env[Any, Any]], look: Look, reward: Reward | None = None) -> None:
        self.envs, self.look, self.reward = list(envs), look, reward
        space = look.space
        if isinstance(space, gym.spaces.Dict):
            space = gym.spaces.Dict({k: v for k, v in space.spaces.items() if k not in STATES})
        self.has_states = isinstance(look.space, gym.spaces.Dict) and "achieved_state" in look.space.spaces
        super().__init__(len(envs), space, envs[0].action_space)
        self.raw: list[Any] = [None] * len(envs)
        self.seconds_looking = 0.0
        self._returns, self._lengths = np.zeros(len(envs)), np.zeros(len(envs), int)

    @property
    def states(self) -> tuple[int, ...] | None:
        """Shape of what the environment's reward compares, if it has goals."""
        return self.look.space["achieved_state"].shape if self.has_states else None  # pyright: ignore

    def reset(self) -> Batch:
        for i, env in enumerate(self.envs):
            options = {"options": self._options[i]} if self._options[i] else {}
            self.raw[i], info = env.reset(seed=self._seeds[i], **options)
            self.reset_infos[i] = _light(info)
        self._reset_seeds()
        self._reset_options()
        self._returns[:], self._lengths[:] = 0, 0
        self.look.reset()
        return self._split(self._timed(lambda: self.look.observe(batch_of(self.raw))))[0]

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Batch, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        rewards, dones = np.zeros(self.num_envs, np.float32), np.zeros(self.num_envs, bool)
        infos: list[dict[str, Any]] = []
        last: list[Any] = []
        for i, env in enumerate(self.envs):
            self.raw[i], reward, terminated, truncated, info = env.step(self._actions[i])
            rewards[i], dones[i] = float(reward), terminated or truncated
            infos.append(_light(info) | {"TimeLimit.truncated": truncated and not terminated})
            if dones[i]:
                last.append(self.raw[i])
                self.raw[i], info = env.reset()
                self.reset_infos[i] = _light(info)
        rows = np.flatnonzero(dones)
        batch = batch_of(self.raw)
        if rows.size:
            ends, now = self._timed(lambda: self.look.observe_ends(batch_of(last), rows, batch))
        else:
            ends, now = None, self._timed(lambda: self.look.observe(batch))
        reached = now if ends is None else with_rows(now, rows, ends)
        self._tell(reached, rows, infos)
        if self.reward is not None:
            rewards[:] = self.reward(reached["observation"], reached["desired_goal"])
        self._returns += rewards
        self._lengths += 1
        for row in rows.tolist():
            episode = {"r": float(self._returns[row]), "l": int(self._lengths[row])}
            infos[row] |= {"episode": episode | {"t": time.time()}}
        self._returns[rows], self._lengths[rows] = 0, 0
        return self._split(now)[0], rewards, dones, infos

    def compute_reward(self, achieved: np.ndarray, desired: np.ndarray) -> Float[np.ndarray, " B"]:
        """The reward of many pairs: of particles where it is theirs, otherwise of states.

        Raises InputError for goals of another shape.
        """
        if self.reward is not None:
            return self.reward(achieved, desired)
        for goal in (achieved, desired):
            if goal.shape[1:] != self.states:
                raise InputError(
                    f"compute_reward: goals of shape {goal.shape[1:]}; the reward is of states, {self.states}"
                )
        return np.asarray(self.envs[0].get_wrapper_attr("compute_reward")(achieved, desired, {}))

    def pictures(self) -> list[UInt8[np.ndarray, "H W 3"]]:
        """What each environment shows now."""
        frames = [env.render() for env in self.envs]
        if not isinstance(frames[0], np.ndarray):
            raise InputError(f"{self.envs[0]}: render() gives no picture; make it with render_mode rgb_array")
        return [np.asarray(frame) for frame in frames]

    def _tell(self, reached: Batch, rows: Rows, infos: list[dict[str, Any]]) -> None:
        """Puts states and last observations into the infos."""
        seen, states = self._split(reached)
        for i, info in enumerate(infos):
            info |= one_of(states, i)
        for row in rows.tolist():
            infos[row]["terminal_observation"] = one_of(seen, row)

    def _split(self, batch: Batch) -> tuple[Batch, dict[str, np.ndarray]]:
        if not isinstance(batch, dict):
            return batch, {}
        seen = {k: v for k, v in batch.items() if k not in STATES}
        return seen, {k: v for k, v in batch.items() if k in STATES}

    def _timed(self, look: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        seen = look()
        self.seconds_looking += time.perf_counter() - begun
        return seen

    def close(self) -> None:
        for env in self.envs:
            env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [self.envs[i].get_wrapper_attr(attr_name) for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        for i in self._get_indices(indices):
            self.envs[i].set_wrapper_attr(attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Methods of the environments; but `compute_reward` is the one that the agent learns with."""
        if method_name == "compute_reward":
            return [self.compute_reward(*method_args[:2]) for _ in self._get_indices(indices)]
        chosen = (self.envs[i] for i in self._get_indices(indices))
        return [env.get_wrapper_attr(method_name)(*method_args, **method_kwargs) for env in chosen]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        wrapped = []
        for i in self._get_indices(indices):
            env = self.envs[i]
            while isinstance(env, gym.Wrapper) and not isinstance(env, wrapper_class):
                env = env.env
            wrapped.append(isinstance(env, wrapper_class))
        return wrapped


def make(
    cfg: AgentConfig,
    n_envs: int,
    encoder: ParticleEncoder | None = None,
    settings: Mapping[str, Any] | None = None,
    reward: Reward | None = None,
) -> AgentEnv:
    """Environments as a config says. encoder: for particles; without it they see the pictures.
    settings: arguments that replace those of the config.

    Raises InputError for an id or arguments that are wrong, and for pictures that the encoder cannot read.
    """
    settings = {**raw_settings(cfg), **(settings or {})}
    envs = [make_env(cfg.env.id, settings) for _ in range(n_envs)]
    return AgentEnv(envs, _look(cfg, envs[0].observation_space, n_envs, encoder), reward)


def raw_settings(cfg: AgentConfig) -> dict[str, Any]:
    pixels = cfg.env.pixel_settings if cfg.observation.kind != "state" else {}
    return {**cfg.env.settings, **pixels}


def _look(cfg: AgentConfig, space: gym.Space[Any], n_envs: int, encoder: ParticleEncoder | None) -> Look:
    o = cfg.observation
    is_dict = isinstance(space, gym.spaces.Dict)
    states = STATES if is_dict and "desired_goal" in space.spaces else {}
    if encoder is not None:
        images = o.images if is_dict else None
        return Observer(space, encoder, images, states, n_envs, track=o.track, stack=o.stack)
    keys = {"observation": "observation", "desired_goal": "desired_goal"} if states else {}
    return Selection(space, (keys if o.kind == "state" else o.images) | states)


def _channels_first(space: gym.Space[Any]) -> gym.Space[Any]:
    if not isinstance(space, gym.spaces.Box) or space.dtype != np.uint8 or len(space.shape) != 3:
        return space
    height, width, channels = space.shape
    return gym.spaces.Box(0, 255, (channels, height, width), np.uint8)


def _first(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    return np.moveaxis(values, -1, 1) if values.dtype == np.uint8 and values.ndim == 4 else values


def _light(info: Mapping[str, Any]) -> dict[str, Any]:
    """Infos are kept for long; pictures do not belong there."""
    return {k: v for k, v in info.items() if not (isinstance(v, np.ndarray) and v.ndim > 2)}
