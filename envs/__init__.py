"""Gymnasium environments. Importing the package registers `Push-v0`; `gym.make("envs:Push-v0")` does both."""

import gymnasium as gym

gym.register("Push-v0", entry_point="envs.push:PushEnv")
