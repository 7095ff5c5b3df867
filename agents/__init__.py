"""Stable-Baselines3 agents that observe sets of particles."""
