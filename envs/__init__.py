"""Gymnasium environments. Importing the package registers them; `gym.make("envs:Push-v0")` does both."""

import gymnasium as gym

# Bare: wrappers would hide `compute_reward`, which SB3's checker looks for. It has its own time limit.
gym.register("Push-v0", entry_point="envs.push:PushEnv", order_enforce=False, disable_env_checker=True)
gym.register("PushT-v0", entry_point="envs.adapters:push_t")
gym.register("Atari-v0", entry_point="envs.adapters:atari")
gym.register("Fetch-v0", entry_point="envs.adapters:fetch")
gym.register("OGBench-v0", entry_point="envs.adapters:ogbench")
gym.register("TwoRoom-v0", entry_point="envs.two_room:TwoRoom", disable_env_checker=True)
gym.register("SWM-PushT-v0", entry_point="envs.swm_push_t:SwmPushT", disable_env_checker=True)
