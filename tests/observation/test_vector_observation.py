from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from test_observation import Counting
from worlds import GOALS, Walk, push

from dlp_dyn.errors import InputError
from dlp_dyn.observation import ParticleObservation
from dlp_dyn.observation.vector_wrapper import VectorParticleObservation

N, STEPS = 2, 10
FORMS = [{}, {"track": True, "stack": 3}]


def make(i: int) -> Callable[[], gym.Env[Any, Any]]:
    return lambda: push(n_objects=2, time_limit=3 + i)  # episodes end at different steps


def same(a: dict[str, Any], b: dict[str, Any]) -> None:
    """As a batch of another size gives them."""
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_allclose(a[key], b[key], atol=1e-5, err_msg=key)


def row(batch: dict[str, Any], i: int) -> dict[str, Any]:
    return {key: values[i] for key, values in batch.items()}


def actions() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (STEPS, N, 2)).astype(np.float32)


@pytest.mark.parametrize("form", FORMS, ids=["plain", "tracked"])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_each_mode_gives_what_single_environments_give(run: Path, mode: AutoresetMode, form: dict) -> None:
    many = SyncVectorEnv([make(i) for i in range(N)], autoreset_mode=mode)
    vector = VectorParticleObservation(many, str(run), **GOALS, **form)
    singles = [ParticleObservation(make(i)(), str(run), **GOALS, **form) for i in range(N)]
    batch, _ = vector.reset(seed=5)
    expected = [env.reset(seed=5 + i)[0] for i, env in enumerate(singles)]
    over = np.zeros(N, bool)
    ended = 0
    for action in actions():
        for i in range(N):
            same(row(batch, i), expected[i])
        if mode is AutoresetMode.DISABLED and over.any():
            before = batch
            batch, _ = vector.reset(options={"reset_mask": over.copy()})
            for i, env in enumerate(singles):
                if over[i]:
                    expected[i] = env.reset()[0]
                else:
                    same(row(before, i), row(batch, i))
                same(row(batch, i), expected[i])
            over[:] = False
        batch, _, terminations, truncations, infos = vector.step(action)
        assert vector.observation_space.contains(batch)
        for i, env in enumerate(singles):
            if over[i] and mode is AutoresetMode.NEXT_STEP:
                expected[i] = env.reset()[0]
                continue
            expected[i], _, _, truncated, _ = env.step(action[i])
            ended += truncated
            if truncated and mode is AutoresetMode.SAME_STEP:
                same(infos["final_obs"][i], expected[i])
                assert env.observation_space.contains(infos["final_obs"][i])
                expected[i] = env.reset()[0]
        over = np.logical_or(terminations, truncations)
    assert ended >= 4


def test_one_batch_a_step_with_last_observations_in_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlp_dyn.observation.encoder.ParticleEncoder", Counting)
    many = SyncVectorEnv([make(0)] * N, autoreset_mode=AutoresetMode.SAME_STEP)
    vector = VectorParticleObservation(many, str(run), **GOALS)
    vector.reset(seed=0)
    for action in actions()[:4]:
        vector.step(np.full_like(action, 1))
    assert isinstance(vector.encoder, Counting)
    # Pictures and goals of a reset; pictures of a step; and at the end also the last pictures of the episodes.
    assert vector.encoder.batches == [2 * N, N, N, 3 * N, N]


def test_no_picture_is_left_in_what_it_gives(run: Path) -> None:
    many = SyncVectorEnv([make(0)] * N, autoreset_mode=AutoresetMode.SAME_STEP)
    vector = VectorParticleObservation(many, str(run), images=GOALS["images"])
    vector.reset(seed=0)
    infos = [vector.step(action)[-1] for action in actions()[:3]][-1]
    arrays = [a for final in infos["final_obs"] for a in final.values()]
    arrays += [infos[key] for key in infos if key not in ("final_obs", "final_info")]
    assert all(array.dtype != np.uint8 for array in arrays)


def test_both_spaces_are_set_and_settings_make_it_again(run: Path) -> None:
    vector = VectorParticleObservation(SyncVectorEnv([Walk] * N), str(run), stack=2)
    single = vector.single_observation_space
    assert single.shape == (8, vector.layout.dim)
    assert vector.observation_space == gym.vector.utils.batch_space(single, N)
    again = VectorParticleObservation(SyncVectorEnv([Walk] * N), **vector.settings)
    np.testing.assert_array_equal(vector.reset(seed=3)[0], again.reset(seed=3)[0])


def test_environments_in_other_processes(run: Path) -> None:
    many = gym.vector.AsyncVectorEnv([make(i) for i in range(2)], autoreset_mode=AutoresetMode.SAME_STEP)
    here = SyncVectorEnv([make(i) for i in range(2)], autoreset_mode=AutoresetMode.SAME_STEP)
    a, b = (VectorParticleObservation(env, str(run), **GOALS) for env in (many, here))
    try:
        same(a.reset(seed=0)[0], b.reset(seed=0)[0])
        for action in actions()[:4, :2]:
            (x, *_, infos), (y, *_, others) = a.step(action), b.step(action)
            same(x, y)
            assert ("final_obs" in infos) == ("final_obs" in others)
    finally:
        a.close()


def test_an_environment_that_does_not_say_when_it_resets_is_refused(run: Path) -> None:
    many = SyncVectorEnv([Walk])
    many.metadata = {}
    with pytest.raises(InputError, match=r"set its metadata\['autoreset_mode'\]"):
        VectorParticleObservation(many, str(run))
