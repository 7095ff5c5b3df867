"""Algorithms of Stable-Baselines3 from a config: which policy, which buffer, which settings."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy

from agents.config import AgentConfig
from agents.environments import AgentEnv
from agents.extractor import EntityExtractor
from agents.networks import EntityConfig
from agents.offline import policies
from agents.offline.policies import DataPolicy
from agents.policies import EntitySACPolicy, EntityTD3Policy
from agents.replay import GoalReplayBuffer
from agents.stored_replay import plain_arrays
from agents.td3 import GoalTD3
from dlp_dyn.errors import InputError

CLASSES: dict[str, type[BaseAlgorithm]] = {"td3": GoalTD3, "sac": SAC, "ppo": PPO}
LEAST_PICTURE = 36  # pixels a side; SB3's convolutions leave nothing of smaller ones


def build(cfg: AgentConfig, env: AgentEnv, columns: Sequence[str]) -> BaseAlgorithm:
    """A new agent. columns: of particles, if it sees those.

    Raises InputError for observations that the network, and actions that the algorithm cannot do with.
    """
    a = cfg.algorithm
    if a.kind != "ppo" and not isinstance(env.action_space, gym.spaces.Box):
        raise InputError(
            f"config: algorithm.kind is {a.kind}, {cfg.env.id} has the actions {env.action_space}; "
            "give algorithm.kind=ppo"
        )
    policy, policy_kwargs = _policy(cfg, env.observation_space, columns)
    common: dict[str, Any] = {
        "learning_rate": a.lr, "gamma": a.gamma, "batch_size": a.batch_size,
        "policy_kwargs": policy_kwargs, "seed": cfg.seed, "device": cfg.device,
    }  # fmt: skip
    if a.kind == "ppo":
        p = a.ppo
        return PPO(
            policy, env, n_steps=p.n_steps, n_epochs=p.n_epochs, gae_lambda=p.gae_lambda, clip_range=p.clip_range,
            ent_coef=p.entropy, max_grad_norm=p.max_grad_norm, **common,
        )  # fmt: skip
    common |= {
        "buffer_size": a.buffer_size, "learning_starts": 0, "tau": a.tau, "train_freq": a.train_every,
        "gradient_steps": a.gradient_steps, **replay(cfg, env),
    }  # fmt: skip
    if a.kind == "sac":
        entropy = a.sac.entropy
        return SAC(policy, env, ent_coef=entropy if entropy.startswith("auto") else float(entropy), **common)
    t = a.td3
    if t.lower_bound and env.states is None:
        raise InputError(
            f"config: algorithm.td3.lower_bound is of goals, and {cfg.env.id} has none; "
            "give algorithm.td3.lower_bound=false"
        )
    return GoalTD3(
        policy, env, policy_delay=t.policy_delay, target_policy_noise=t.target_noise, target_noise_clip=t.noise_clip,
        action_l2=t.action_l2, q_range=(-1 / (1 - a.gamma), 0.0) if t.q_range else None, lower_bound=t.lower_bound,
        target_update=t.target_update, imitation=t.imitation, imitation_until=t.imitation_until,
        identity=t.identity, exploration=t.exploration, **common,
    )  # fmt: skip


def replay(cfg: AgentConfig, env: AgentEnv) -> dict[str, Any]:
    """Arguments that choose the replay buffer: with goals ours, otherwise SB3's."""
    if env.states is None:
        return {}
    of_particles = cfg.observation.kind == "particles"
    settings = {
        "reward": env.compute_reward,
        "states": None if env.reward is not None else env.states,
        "goals": "states" if cfg.observation.kind == "state" else "observations",
        "her": cfg.replay.her,
        "unreached": cfg.replay.unreached,
        "each": cfg.replay.each,
        "kept": cfg.replay.kept,
        "reward_each": env.reward_each if cfg.network.entity.values == "each" else None,
        "dtype": cfg.replay.dtype if of_particles else None,
        "seed": cfg.seed,
    }
    return {"replay_buffer_class": GoalReplayBuffer, "replay_buffer_kwargs": settings}


def replay_memory(model: BaseAlgorithm) -> str:
    """What the replay buffer takes, in words."""
    if not isinstance(model, OffPolicyAlgorithm) or model.replay_buffer is None:
        return "replay buffer: none, the algorithm learns from what it has just seen"
    buffer = model.replay_buffer
    if isinstance(buffer, GoalReplayBuffer):
        each, note = buffer.bytes_per_transition, ", and two more an episode"
    else:
        stored = sum(x.nbytes for x in plain_arrays(buffer).values())
        each, note = stored // (buffer.buffer_size * buffer.n_envs), ""
    room = buffer.buffer_size * buffer.n_envs
    return (
        f"replay buffer: {each / 10:.1f} MB for 100,000 transitions ({each} bytes each{note}); "
        f"room for {room:,}: {each * room / 1e6:.0f} MB"
    )


def build_policy(
    cfg: AgentConfig, observations: gym.Space[Any], actions: gym.Space[Any], columns: Sequence[str]
) -> BasePolicy | DataPolicy:
    """The networks of an agent alone, as `build` makes them, to act with. Raises InputError as `build` does."""
    if cfg.algorithm.offline:
        assert isinstance(actions, gym.spaces.Box)  # `offline.data.read` refuses others
        if cfg.network.kind == "cnn":
            _check_pictures(observations)
        return policies.build(cfg, _entity(cfg, columns), observations, actions)
    policy, policy_kwargs = _policy(cfg, observations, columns)
    made = CLASSES[cfg.algorithm.kind].policy_aliases[policy] if isinstance(policy, str) else policy
    return made(observations, actions, lambda _: cfg.algorithm.lr, **policy_kwargs)  # pyright: ignore[reportCallIssue]


def _policy(
    cfg: AgentConfig, space: gym.Space[Any], columns: Sequence[str]
) -> tuple[str | type[Any], dict[str, Any]]:
    """Class or SB3's name of a policy, and its arguments."""
    network, kind = cfg.network, cfg.algorithm.kind
    plain = "MultiInputPolicy" if isinstance(space, gym.spaces.Dict) else "MlpPolicy"
    # Fused, a step of Adam takes a tenth of the time on a CPU.
    settings: dict[str, Any] = {"optimizer_kwargs": {"fused": True}}
    if network.kind != "entity":
        if network.kind == "cnn":
            _check_pictures(space)
            plain = "CnnPolicy" if plain == "MlpPolicy" else plain
        return plain, settings | {"net_arch": list(network.flat)}
    entity = _entity(cfg, columns)
    if kind == "ppo":
        extractor = {
            "features_extractor_class": EntityExtractor,
            "features_extractor_kwargs": {"network": entity},
        }
        return plain, settings | {"net_arch": list(entity.head), **extractor}
    return {"td3": EntityTD3Policy, "sac": EntitySACPolicy}[kind], settings | {"network": entity}


def _entity(cfg: AgentConfig, columns: Sequence[str]) -> EntityConfig:
    """Sizes of the entity transformer, and which column of particles says that they are there."""
    entity = cfg.network.entity
    return replace(entity, mask_column=list(columns).index("transparency")) if columns else entity


def _check_pictures(space: gym.Space[Any]) -> None:
    boxes = space.spaces.items() if isinstance(space, gym.spaces.Dict) else [("observation", space)]
    for key, box in boxes:
        if box.shape is not None and len(box.shape) == 3 and min(box.shape[1:]) < LEAST_PICTURE:
            raise InputError(
                f"observation: '{key}' is a picture of {box.shape[1]} x {box.shape[2]} pixels; "
                f"network.kind=cnn needs {LEAST_PICTURE} or more a side"
            )
