"""Speed of agents that see states: ours beside plain Stable-Baselines3, in one run.

python -m benchmarks.agent_speed

Updates and environment steps a CPU second, of TD3 with hindsight on one object; batches of 256. Ours with the entity
transformer and with a perceptron; SB3's TD3 with its HerReplayBuffer and the same perceptron.
"""

import time
from collections.abc import Callable

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import TD3, HerReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from agents import algorithms, config, environments

N_ENVS, STEPS, UPDATES, BATCH = 16, 100, 100, 256


def ours(network: str) -> TD3:
    cfg = config.load(
        "push1_shown", ["observation.kind=state", f"network.kind={network}", f"algorithm.batch_size={BATCH}"]
    )
    built = algorithms.build(cfg, environments.make(cfg, N_ENVS), ())
    assert isinstance(built, TD3)
    return built


def plain() -> TD3:
    def make() -> gym.Env:
        return gym.make("envs:Push-v0", n_objects=1, reward="sparse")

    return TD3(
        "MultiInputPolicy", DummyVecEnv([make] * N_ENVS), batch_size=BATCH, learning_starts=0,
        train_freq=1, gradient_steps=0, replay_buffer_class=HerReplayBuffer, device="cpu", seed=0,
        action_noise=NormalActionNoise(np.zeros(2), 0.2 * np.ones(2)), policy_kwargs={"net_arch": [256, 256]},
    )  # fmt: skip


def measure(name: str, build: Callable[[], TD3]) -> None:
    model = build()
    model.set_logger(Logger(None, []))
    model.gradient_steps = 0
    rates = []
    for amount, work in (
        (STEPS * N_ENVS, lambda: model.learn(STEPS * N_ENVS, log_interval=10**9, reset_num_timesteps=False)),
        (UPDATES, lambda: model.train(UPDATES, BATCH)),
    ):
        work()  # the first time is slower
        begun = time.process_time()
        work()
        rates.append(amount / (time.process_time() - begun))
    print(f"{name:34} {rates[0]:10.0f} {rates[1]:10.1f}")


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'':34} {'env steps':>10} {'updates':>10}   a CPU second")
    measure("ours, entity transformer", lambda: ours("entity"))
    measure("ours, perceptron", lambda: ours("flat"))
    measure("SB3: TD3, HER buffer, perceptron", plain)


if __name__ == "__main__":
    main()
