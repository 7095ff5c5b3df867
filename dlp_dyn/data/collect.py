"""Any Gymnasium environment -> rollout file.

Episodes are the unit of work: each one is seeded by its number and collected as a whole by one of `n_envs`
processes. So the file is the same for any `n_envs`, and no terminal frame is mixed up with the reset that
follows it, which vector environments invite.
"""

import atexit
import importlib
import inspect
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import gymnasium as gym
import numpy as np
from jaxtyping import UInt8

from dlp_dyn.data.answers import RESET, STEP, answered, finite
from dlp_dyn.data.images import Crop, as_rgb, fit, image_key
from dlp_dyn.data.writer import Episode, RolloutWriter, one_line
from dlp_dyn.errors import InputError

DARKEST = 32  # MiniGrid's codes of objects, colours and states stay below 16, Crafter's of materials below 20
Policy = Callable[..., Any]
"""Observation and, where known, info -> action."""
Source = Literal["auto", "observation", "render"]


@dataclass(frozen=True)
class CollectConfig:
    """What makes an episode. See `collect`."""

    env_id: str
    max_steps: int = 1000
    image_size: int | None = 64
    crop: Crop | None = None
    frame_skip: int = 1
    action_block: int = 1
    policy: str = "random"
    seed: int = 0
    source: Source = "auto"
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("max_steps", "frame_skip", "action_block"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: must be 1 or more")
        if self.image_size is not None and self.image_size < 1:
            raise InputError(f"image_size {self.image_size}: must be 1 or more")
        if self.source not in ("auto", "observation", "render"):
            raise InputError(f"source {self.source!r}: use auto, observation or render")


def collect(
    env_id: str,
    out: str | Path,
    *,
    episodes: int,
    max_steps: int = 1000,
    image_size: int | None = 64,
    crop: Crop | None = None,
    frame_skip: int = 1,
    action_block: int = 1,
    policy: str = "random",
    n_envs: int = 1,
    seed: int = 0,
    source: Source = "auto",
    env_kwargs: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Plays episodes in an environment and writes them to a rollout file.

    env_id: a registered id, "module:Id", or "module/Id" where the module registers it when imported.
    max_steps: agent steps an episode at most; it then has one frame more, and the last step is marked
    truncated. crop, image_size: see `images.fit`; `image_size=None` keeps the size.
    frame_skip: environment steps an agent step; rewards are summed.
    action_block: agent steps a frame. All their actions stand beside it, side by side, in a row of so many times the
        width; rewards are summed. An episode that ends within a block has zeros for what was not done.
    policy: "random", or "module:name" of a function `name(observation, action_space, rng) -> action`, or of a
        class whose `name(env, rng)` is built once an episode and called with each observation. Either may take `info`
        as well, by that name. The current folder is searched too.
    n_envs: processes that play at the same time; with more than one, environments must come from an
    importable module. source: the picture is the observation if that is an image (itself or a key of a Dict),
        otherwise the rendered frame (render_mode "rgb_array"); "observation" and "render" insist.
    progress: told how many episodes are done.

    Ground truth, the `states` of an `Episode` for one frame, is stored where an environment tells it by a method
    `ground_truth()` or as `ground_truth` in its info, unless the picture is cropped.

    Raises InputError for an unknown id or policy, an environment without pictures, an action outside its
    space.
    """
    if episodes < 1 or n_envs < 1:
        raise InputError(f"episodes {episodes}, n_envs {n_envs}: both must be 1 or more")
    cfg = CollectConfig(
        env_id,
        max_steps,
        image_size,
        crop,
        frame_skip,
        action_block,
        policy,
        seed,
        source,
        dict(env_kwargs or {}),
    )
    player = Player(cfg)
    attributes = {
        "env_id": env_id,
        "seed": seed,
        "frame_skip": frame_skip,
        "action_block": action_block,
        "policy": policy,
        "action_space": str(player.env.action_space),
        "action_kind": "continuous" if isinstance(player.env.action_space, gym.spaces.Box) else "one-hot",
        "image_source": "render" if player.key is None else "observation",
    }
    if fps := player.env.metadata.get("render_fps"):
        attributes["fps"] = fps / frame_skip / action_block
    stream = map(player.play, range(episodes)) if n_envs == 1 else _play_all(cfg, episodes, n_envs)
    try:
        with RolloutWriter(out, seed=seed, attributes=attributes) as writer:
            for done, episode in enumerate(stream, 1):
                writer.append(episode)
                if progress:
                    progress(done)
    finally:
        player.env.close()


def _play_all(cfg: CollectConfig, episodes: int, n_envs: int) -> Iterator[Episode]:
    """Episodes in order, played by `n_envs` processes; only a few wait in memory."""
    # Forking a process that has opened a graphics context or started threads is unsafe.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(n_envs, episodes), mp_context=context)
    try:
        ahead = min(2 * n_envs, episodes)
        waiting = deque(pool.submit(_play, cfg, number) for number in range(ahead))
        for number in range(ahead, episodes + ahead):
            yield waiting.popleft().result()
            if number < episodes:
                waiting.append(pool.submit(_play, cfg, number))
    except BrokenProcessPool as error:
        raise InputError(
            f"{cfg.env_id}: a process that played it died; use one process to see why, or fewer processes if "
            "memory is short"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_players: list["Player"] = []


def _play(cfg: CollectConfig, episode: int) -> Episode:
    """Runs in a worker process, which keeps its environment."""
    if not _players:
        _players.append(Player(cfg))
        atexit.register(_players[0].env.close)
    return _players[0].play(episode)


class Player:
    """An environment, where its pictures come from, and a policy."""

    def __init__(self, cfg: CollectConfig) -> None:
        self.cfg = cfg
        self.make_policy = load_policy(cfg.policy)
        self.env, self.key = _open(cfg)
        self.action_dim = gym.spaces.flatdim(self.env.action_space)

    def play(self, number: int) -> Episode:
        """The episode of this number: always the same one."""
        env_seed, policy_seed = np.random.SeedSequence([self.cfg.seed, number]).generate_state(2).tolist()
        observation, info = answered("reset", self.env.reset(seed=env_seed), RESET)
        self.env.action_space.seed(policy_seed)
        policy = self.make_policy(self.env, np.random.default_rng(policy_seed))
        frames, actions, rewards = [self._picture(observation)], [], []
        states, observed = [self._ground_truth(info)], [self._numbers(observation)]
        terminated = truncated = False
        n_steps = 0
        while not (terminated or truncated):
            block, reward = np.zeros((self.cfg.action_block, self.action_dim), np.float32), 0.0
            for i in range(self.cfg.action_block):
                action = self._checked(policy(observation, info))
                block[i] = np.asarray(gym.spaces.flatten(self.env.action_space, action))
                for _ in range(self.cfg.frame_skip):
                    answer = answered("step", self.env.step(action), STEP)
                    observation, step_reward, terminated, truncated, info = answer
                    reward += finite("reward", step_reward)
                    if terminated or truncated:
                        break
                n_steps += 1
                truncated = truncated or (not terminated and n_steps == self.cfg.max_steps)
                if terminated or truncated:
                    break
            frames.append(self._picture(observation))
            states.append(self._ground_truth(info))
            observed.append(self._numbers(observation))
            actions.append(block.reshape(-1))
            rewards.append(reward)
        self._refuse_codes(frames, number)
        ends = np.zeros(len(frames), bool)
        ends[-2] = True
        return Episode(
            np.stack(frames),
            np.stack([*actions, np.zeros_like(actions[0])]),
            np.array([*rewards, 0], np.float32),
            ends & bool(terminated),
            ends & bool(truncated),
            {name: np.stack([state[name] for state in states]) for name in states[0]} or None,
            {name: np.stack([seen[name] for seen in observed]) for name in observed[0]} or None,
        )

    def _numbers(self, observation: Any) -> dict[str, np.ndarray]:
        """The arrays of an observation that are no pictures; the key of one that is no Dict is `observation`."""
        space = self.env.observation_space
        spaces = space.spaces if isinstance(space, gym.spaces.Dict) else {"observation": space}
        values = observation if isinstance(space, gym.spaces.Dict) else {"observation": observation}
        return {
            name: np.array(values[name])
            for name, inner in spaces.items()
            if isinstance(inner, gym.spaces.Box) and inner.dtype != np.uint8
        }

    def _ground_truth(self, info: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
        """What the environment tells of its objects; nothing where it does not, or positions would not fit."""
        tell = getattr(self.env.unwrapped, "ground_truth", None)
        truth = info.get("ground_truth", {}) if tell is None else tell()
        if not isinstance(truth, Mapping) or self.cfg.crop is not None:
            return {}
        # Environments that write into one array for ever give each frame the last one's values.
        states = {name: np.array(value) for name, value in truth.items()}
        side = self.cfg.image_size
        if "masks" in states and side is not None:
            states["masks"] = cv2.resize(states["masks"], (side, side), interpolation=cv2.INTER_NEAREST)
        return states

    def _picture(self, observation: Any) -> UInt8[np.ndarray, "H W 3"]:
        if self.key is None:
            image = rendered(self.env)
            if not isinstance(image, np.ndarray):
                raise InputError(
                    f"{self.cfg.env_id}: render() gave {type(image).__name__}, not an image array"
                )
        else:
            image = observation
            for key in self.key:
                image = image[key]
        name = self.cfg.env_id
        picture = fit(as_rgb(image, name), self.cfg.image_size, self.cfg.crop, name)
        return picture.copy() if np.shares_memory(picture, image) else picture

    def _refuse_codes(self, frames: list[UInt8[np.ndarray, "H W 3"]], number: int) -> None:
        """InputError for a first episode without any light: numbers of objects, or a screen that is not drawn."""
        if number == 0 and (brightest := max(int(frame.max()) for frame in frames)) < DARKEST:
            raise InputError(
                f"{self.cfg.env_id}: no picture: the brightest value of an episode is {brightest} of 255, as of "
                "codes of objects or a screen that is not drawn; use the source "
                f"{'observation' if self.key is None else 'render'}"
            )

    def _checked(self, action: Any) -> Any:
        space = self.env.action_space
        if isinstance(space, gym.spaces.Box):
            action = np.asarray(action, space.dtype)
        if not space.contains(action):
            raise InputError(
                f"policy {self.cfg.policy}: action {str(action)[:80]!r} is not in the action space {space}"
            )
        return action


def _open(cfg: CollectConfig) -> tuple[gym.Env, tuple[str, ...] | None]:
    """The environment and the key of the picture in its observation (None: it is rendered)."""
    if cfg.source != "render":
        env = make_env(cfg.env_id, cfg.env_kwargs)
        if (key := image_key(env.observation_space)) is not None:
            return env, key
        space, modes = env.observation_space, env.metadata.get("render_modes", [])
        env.close()
        if cfg.source == "observation":
            raise InputError(
                f"{cfg.env_id}: the observation {_short(space)} holds no uint8 image; use the source render"
            )
        if "rgb_array" not in modes:
            raise InputError(
                f"{cfg.env_id}: no pixels: the observation {_short(space)} is no uint8 image and the render "
                f"modes {modes} "
                "lack rgb_array; use another environment"
            )
    return make_env(cfg.env_id, {**cfg.env_kwargs, "render_mode": "rgb_array"}), None


def make_env(env_id: str, env_kwargs: Mapping[str, Any]) -> gym.Env:
    """An environment by id, or "module:Id", or "module/Id". Raises InputError when it cannot be made."""
    _search_here()
    try:
        try:
            return gym.make(env_id, disable_env_checker=True, **env_kwargs)
        except gym.error.NamespaceNotFound:
            importlib.import_module(env_id.split("/")[0])
            return gym.make(env_id, disable_env_checker=True, **env_kwargs)
    except (gym.error.Error, ImportError, TypeError) as error:
        reason = one_line(error)
        raise InputError(
            f"environment {env_id}: cannot be made ({reason}); check the id and the package it comes from"
        ) from error


def rendered(env: gym.Env) -> Any:
    """What an environment draws. Raises InputError where the package that it draws with is not installed."""
    try:
        return env.render()
    except gym.error.DependencyNotInstalled as error:
        raise InputError(
            f"{env}: cannot draw its pictures ({one_line(error)}); install that package"
        ) from error


def load_policy(name: str) -> Callable[[gym.Env, np.random.Generator], Policy]:
    """A policy by name, see `collect`: `make(env, rng)` gives what turns observations into actions."""
    if name == "random":
        return lambda env, _rng: lambda _observation, _info=None: env.action_space.sample()
    module, _, attribute = name.partition(":")
    if not attribute:
        raise InputError(f"policy {name!r}: use random or module:function")
    _search_here()
    try:
        target: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"policy {name!r}: cannot be imported ({one_line(error)}); use module:function"
        ) from error
    if not callable(target):
        raise InputError(f"policy {name!r}: is a {type(target).__name__}, not a function or class")
    if isinstance(target, type):
        _check_arguments(name, target, "env", "rng")
        return lambda env, rng: _with_info(target(env, rng))
    _check_arguments(name, target, "observation", "action_space", "rng")
    policy = _with_info(target)
    return lambda env, rng: lambda observation, info=None: policy(observation, info, env.action_space, rng)


def _with_info(policy: Callable[..., Any]) -> Callable[..., Any]:
    """Called with observation, info and what else it wants; without the info where it has no place for it."""
    if "info" in inspect.signature(policy).parameters:
        return lambda observation, info=None, *more: policy(observation, *more, info=info or {})
    return lambda observation, _info=None, *more: policy(observation, *more)


def _check_arguments(policy: str, target: Callable[..., Any], *names: str) -> None:
    """Raise InputError for what cannot be called with so many arguments, and `info` where it is named."""
    try:
        signature = inspect.signature(target)
        known = {"info": {}} if "info" in signature.parameters else {}
        signature.bind(*names, **known)
    except TypeError as error:
        raise InputError(
            f"policy {policy!r}: is called with ({', '.join(names)}), which it does not take ({error}); change it"
        ) from None


def _search_here() -> None:
    """Lets imports find modules of the current folder, as under `python -m`, for an installed command too."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def _short(space: gym.Space) -> str:
    return " ".join(str(space).split())[:100]
