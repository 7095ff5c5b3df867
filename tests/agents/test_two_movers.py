"""What sets are for: two movers whose slots are dealt anew at every step."""

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from two_movers import HORIZON, TwoMovers

from agents.networks import EntityConfig
from agents.policies import EntityTD3Policy
from agents.td3 import Exploration, GoalTD3

STEPS = 9_000
EPISODES = 40
ENTITY = {
    "policy": EntityTD3Policy,
    "policy_kwargs": {
        "network": EntityConfig(dim=32, n_heads=4, hidden=(64,), head=(64, 64)),
        "optimizer_kwargs": {"fused": True},
    },
}
FLAT = {"policy": "MultiInputPolicy", "policy_kwargs": {"net_arch": [256, 256]}}


def success(network: dict[str, Any], shuffled: bool) -> float:
    """Of the test episodes after training, the share that ends with both movers at their goals."""
    torch.set_num_threads(1)
    agent = GoalTD3(
        env=make_vec_env(lambda: TwoMovers(shuffled), 8, seed=0), learning_rate=1e-3, batch_size=128, gamma=0.5,
        tau=0.05, train_freq=4, gradient_steps=10, learning_starts=500, buffer_size=STEPS, action_l2=0.05,
        replay_buffer_class=HerReplayBuffer, exploration=Exploration(0.2, 0.2), seed=0, device="cpu", **network,
    )  # fmt: skip
    agent.learn(STEPS)
    env = make_vec_env(lambda: TwoMovers(shuffled), EPISODES, seed=1000)
    observation = env.reset()
    infos: list[dict[str, Any]] = []
    for _ in range(HORIZON):
        assert isinstance(observation, dict)
        actions, _ = agent.predict(observation)
        observation, _, _, infos = env.step(actions)
    return float(np.mean([info["is_success"] for info in infos]))


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_only_a_set_policy_learns_when_slots_are_shuffled() -> None:
    assert success(ENTITY, shuffled=True) >= 0.95
    assert success(FLAT, shuffled=True) <= 0.10


@pytest.mark.slow
def test_a_flat_policy_learns_when_slots_stay() -> None:
    """So that it is the shuffling which defeats it."""
    assert success(FLAT, shuffled=False) >= 0.95
