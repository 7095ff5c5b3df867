"""Pairs of moments of episodes that a policy plays: what lies between them can be done."""

from collections.abc import Callable, Iterator
from functools import lru_cache

import gymnasium as gym
import numpy as np
from jaxtyping import Float

from dlp_dyn.data.collect import load_policy, make_env
from dlp_dyn.errors import InputError
from dlp_dyn.planning.tasks.base import Problem

AHEAD = 25  # steps from start to goal
STEPS = 100  # of an episode
_ATTEMPTS = 20  # episodes a problem at most

Fits = Callable[[Float[np.ndarray, " S"], Float[np.ndarray, " S"]], bool]


def any_pair(start: Float[np.ndarray, " S"], goal: Float[np.ndarray, " S"]) -> bool:  # noqa: ARG001
    return True


@lru_cache(maxsize=16)
def recorded_pairs(env_id: str, policy: str, n: int, seed: int, fits: Fits) -> tuple[Problem, ...]:
    """One pair an episode at most, `AHEAD` steps apart, at a random moment of those that fit.

    Episodes are played for this, from seeds that no rollout file begins with. fits: of the states of start and goal.
    Pairs that are solved at the start are left out.
    Raises InputError where the policy hardly ever makes a pair that fits.
    """
    env = make_env(env_id, {})
    problems = []
    try:
        for number in range(_ATTEMPTS * n):
            if len(problems) == n:
                break
            rng = np.random.default_rng([seed, 7_919, number])
            states, actions = _episode(env, policy, rng)
            problems += next(_pairs(env, states, actions, rng, fits), [])
    finally:
        env.close()
    if len(problems) < n:
        raise InputError(f"{env_id}: {len(problems)} pairs in {_ATTEMPTS * n} episodes: ask for fewer pairs")
    return tuple(problems)


def _episode(
    env: gym.Env, policy: str, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "T S"], Float[np.ndarray, "T1 A"]]:
    observation, info = env.reset(seed=int(rng.integers(2**31)))
    act = load_policy(policy)(env, rng)
    states, actions = [info["state"]], []
    for _ in range(STEPS):
        actions.append(act(observation, info))
        observation, _, _, _, info = env.step(actions[-1])
        states.append(info["state"])
    return np.stack(states), np.stack(actions).astype(np.float32)


def _pairs(
    env: gym.Env,
    states: Float[np.ndarray, "T S"],
    actions: Float[np.ndarray, "T1 A"],
    rng: np.random.Generator,
    fits: Fits,
) -> Iterator[list[Problem]]:
    for t in rng.permutation(len(states) - AHEAD):
        start, goal = states[t], states[t + AHEAD]
        if not fits(start, goal):
            continue
        problem_seed = int(rng.integers(2**31))
        _, info = env.reset(seed=problem_seed, options={"state": start, "goal_state": goal})
        if not info["is_success"] and not info["is_near"]:
            yield [Problem(problem_seed, start, goal, actions[t : t + AHEAD])]
