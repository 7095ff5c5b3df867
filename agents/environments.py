"""Environments for Stable-Baselines3: several in one process, looked at together."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float, Int, UInt8
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from agents.config import AgentConfig
from agents.episodes import Played, fingerprint
from agents.selection import Selection
from agents.spaces import Actions
from dlp_dyn.data.answers import RESET, STEP, answered, finite
from dlp_dyn.data.collect import make_env
from dlp_dyn.errors import InputError
from dlp_dyn.observation.encoder import ParticleEncoder
from dlp_dyn.observation.observer import Batch, Observer, batch_of, one_of, with_rows

Rows = Int[np.ndarray, " R"]
Reward = Callable[[np.ndarray, np.ndarray], Float[np.ndarray, " B"]]

# What was reached and what should have been: for rewards, never for the agent's eyes.
STATES = {"achieved_state": "achieved_goal", "desired_state": "desired_goal"}


Look = Observer | Selection  # how raw observations become those of the agent


class AgentEnv(VecEnv):
    """Environments that play in turn and are looked at in one batch a step, last observations of episodes with it.

    Where there are goals, the observation has `observation` and `desired_goal`, and infos have `achieved_state` and
    `desired_state`: what the environment's own reward is of. Infos never hold pictures. `raw` are the environments'
    own observations, for scripted policies. reward: of the agent's `observation` and `desired_goal`, in place of the
    environment's. seconds_looking: spent on `look`, which for particles is the encoder's time. lengths: steps of the
    running episodes. tells_success: an environment has told of success; from then on it is False at the ends of
    episodes that say nothing.
    """

    def __init__(self, envs: Sequence[gym.Env[Any, Any]], look: Look, reward: Reward | None = None) -> None:
        self.envs, self.look, self.reward = list(envs), look, reward
        space = look.space
        if isinstance(space, gym.spaces.Dict):
            space = gym.spaces.Dict({k: v for k, v in space.spaces.items() if k not in STATES})
        self.has_states = isinstance(look.space, gym.spaces.Dict) and "achieved_state" in look.space.spaces
        self.actions = Actions(envs[0].action_space)
        super().__init__(len(envs), space, self.actions.space)
        self.raw: list[Any] = [None] * len(envs)
        self.seconds_looking = 0.0
        self.tells_success = False
        self._returns, self.lengths = np.zeros(len(envs)), np.zeros(len(envs), int)
        self._played = [Played.begin(env, None) for env in self.envs]

    @property
    def states(self) -> tuple[int, ...] | None:
        """Shape of what the environment's reward compares, if it has goals."""
        return self.look.space["achieved_state"].shape if self.has_states else None  # pyright: ignore

    def reset(self) -> Batch:
        for i, env in enumerate(self.envs):
            options = {"options": self._options[i]} if self._options[i] else {}
            self._played[i] = Played.begin(env, self._seeds[i])
            self.raw[i], info = answered("reset", env.reset(seed=self._seeds[i], **options), RESET)
            self.reset_infos[i] = _light(info)
        self._reset_seeds()
        self._reset_options()
        self._returns[:], self.lengths[:] = 0, 0
        self.look.reset()
        return self._split(self._timed(lambda: self.look.observe(batch_of(self.raw))))[0]

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Batch, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        rewards, dones = np.zeros(self.num_envs, np.float32), np.zeros(self.num_envs, bool)
        infos: list[dict[str, Any]] = []
        last: list[Any] = []
        for i, env in enumerate(self.envs):
            action = self.actions.to_env(self._actions[i])
            self.raw[i], reward, terminated, truncated, info = answered("step", env.step(action), STEP)
            self._played[i].actions.append(np.asarray(action))
            rewards[i], dones[i] = finite("reward", reward), terminated or truncated
            infos.append(_light(info) | {"TimeLimit.truncated": truncated and not terminated})
            if dones[i]:
                last.append(copy.deepcopy(self.raw[i]))  # `reset` may write into the same array
                self._played[i] = Played.begin(env, None)
                self.raw[i], info = answered("reset", env.reset(), RESET)
                self.reset_infos[i] = _light(info)
        self.tells_success |= any("is_success" in info for info in infos)
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
        self.lengths += 1
        for row in rows.tolist():
            if self.tells_success:
                infos[row].setdefault("is_success", False)
            episode = {"r": float(self._returns[row]), "l": int(self.lengths[row])}
            infos[row] |= {"episode": episode | {"t": time.time()}}
        self._returns[rows], self.lengths[rows] = 0, 0
        return self._split(now)[0], rewards, dones, infos

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on in the middle of episodes."""
        return {
            "played": [played.to_plain() for played in self._played],
            "seen": [fingerprint(raw) for raw in self.raw],
            "returns": self._returns.tolist(),
            "lengths": self.lengths.tolist(),
            "tells_success": self.tells_success,
            "memory": {name: tensor.clone() for name, tensor in self.look.memory().items()},
        }

    def restore(self, state: Mapping[str, Any]) -> Rows:
        """Play running episodes again up to where they were.

        Gives the rows whose environments then showed something else, as they may where not all that happens follows
        from their generator and the actions; those have begun a new episode.

        Raises InputError for another number of environments.
        """
        if len(state["played"]) != self.num_envs:
            raise InputError(
                f"env.n_envs is {self.num_envs}, the run went on {len(state['played'])}: resume with as many"
            )
        self._played = [Played.from_plain(values) for values in state["played"]]
        self.raw = [played.again(env) for played, env in zip(self._played, self.envs, strict=True)]
        self._returns[:], self.lengths[:] = state["returns"], state["lengths"]
        self.tells_success = state["tells_success"]
        for name, tensor in self.look.memory().items():
            tensor.copy_(state["memory"][name])
        other = [i for i, raw in enumerate(self.raw) if fingerprint(raw) != state["seen"][i]]
        for i in other:
            self._played[i] = Played.begin(self.envs[i], None)
            self.raw[i], _ = self.envs[i].reset()
            self._returns[i], self.lengths[i] = 0, 0
        rows = np.array(other, int)
        self.look.reset(rows)
        return rows

    def look_again(self, rows: Rows) -> Batch:
        """What the agent sees of new episodes in these rows."""
        return self._split(
            self._timed(lambda: self.look.observe(batch_of([self.raw[i] for i in rows]), rows))
        )[0]

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

    def reward_each(self, achieved: np.ndarray, desired: np.ndarray) -> Float[np.ndarray, "B K"]:
        """0 for each object that is where it should be, -1 for the others: by the environment's `object_success`.

        Raises InputError for an environment that has no such method.
        """
        if not self.envs[0].has_wrapper_attr("object_success"):
            raise InputError(
                f"network.entity.values is each: {self.envs[0]} has no object_success(achieved, desired); give "
                "network.entity.values=set"
            )
        success = self.envs[0].get_wrapper_attr("object_success")(achieved, desired)
        return np.asarray(success, np.float32) - 1

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
    images = dict(o.images)
    if is_dict and not states and images.get("desired_goal") not in space.spaces:
        images.pop("desired_goal", None)  # there is nothing to reach
    if encoder is not None:
        return Observer(
            space, encoder, images if is_dict else None, states, n_envs, track=o.track, stack=o.stack
        )
    if o.kind == "pixels":
        return Selection(space, images | states, pictures=images if is_dict else [""])
    keys = ["observation", "desired_goal"] if states else list(space) if is_dict else []
    return Selection(space, {key: key for key in keys} | states)


def _light(info: Mapping[str, Any]) -> dict[str, Any]:
    """Infos are kept for long: pictures do not belong there, and arrays must not be those that are written to."""
    success = info.get("is_success")
    if success is not None and finite("is_success", success) not in (0, 1):
        raise InputError(f"environment: is_success is {success!r}; it has to be True or False")
    told = {} if success is None else {"is_success": bool(success)}
    return told | {
        k: np.array(v) if isinstance(v, np.ndarray) else v
        for k, v in info.items()
        if k != "is_success" and not (isinstance(v, np.ndarray) and v.ndim > 2)
    }
