import inspect
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import RecordConstructorArgs
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3
from worlds import GOALS, Walk, push, write_run

from dlp_dyn.errors import InputError
from dlp_dyn.observation import ParticleObservation
from dlp_dyn.observation.encoder import ParticleEncoder, fit_normalizer
from dlp_dyn.observation.normalizer import Normalizer
from dlp_dyn.observation.vector_wrapper import VectorParticleObservation


@pytest.fixture(scope="session")
def scale(run: Path, balls_file: Path) -> Path:
    """The file of a normalizer."""
    file = run / "normalizer.json"
    fit_normalizer(ParticleEncoder(run), balls_file).save(file)
    return file


def episode(env: gym.Env[Any, Any], n: int = 4, seed: int = 0) -> list[Any]:
    """Observations of a reset and n steps of repeatable actions."""
    env.action_space.seed(seed)
    observations = [env.reset(seed=seed)[0]]
    return observations + [env.step(env.action_space.sample())[0] for _ in range(n)]


def test_a_picture_becomes_a_packed_set(run: Path) -> None:
    walk = Walk()
    env = ParticleObservation(walk, str(run))
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation, ParticleEncoder(run)(walk.render()[None])[0])
    assert env.observation_space.shape == observation.shape == (4, env.layout.dim)
    assert env.observation_space.contains(observation)


def test_a_spec_makes_the_same_observations_again(run: Path, scale: Path) -> None:
    env = ParticleObservation(
        push(n_objects=2), str(run), normalizer=str(scale), track=True, stack=2, **GOALS
    )
    assert env.spec is not None
    for spec in (env.spec, EnvSpec.from_json(env.spec.to_json())):
        again = gym.make(spec)
        assert isinstance(again, ParticleObservation)
        for a, b in zip(episode(env), episode(again), strict=True):
            assert a.keys() == b.keys() == env.observation_space.sample().keys()
            for key in a:
                np.testing.assert_array_equal(a[key], b[key])


@pytest.mark.parametrize("wrapper", [ParticleObservation, VectorParticleObservation])
def test_every_argument_is_recorded(run: Path, scale: Path, wrapper: type) -> None:
    arguments = {
        "run": str(run), "hash": ParticleEncoder(run).hash, "images": {"observation": ["front", "back"]},
        "keep": {"step": "step"}, "normalizer": str(scale), "normalizer_hash": Normalizer.load(scale).hash,
        "flatten": True, "dtype": "float16", "named": False, "track": True, "stack": 2, "device": "cpu",
    }  # fmt: skip
    assert [*inspect.signature(wrapper.__init__).parameters][2:] == list(arguments)
    env: Any = Walk(cameras=True)
    if wrapper is VectorParticleObservation:
        env = gym.vector.SyncVectorEnv([lambda: Walk(cameras=True)])
    recorded = wrapper(env, **arguments)._saved_kwargs
    assert json.loads(json.dumps(recorded)) == arguments


def test_what_changed_since_it_was_recorded_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    encoder = ParticleEncoder(run)
    x = np.random.default_rng(0).random((9, 4, encoder.layout.dim), np.float32)
    Normalizer.fit(x, encoder.layout).save(tmp_path / "scale.json")
    spec = ParticleObservation(gym.make("Walk-v0"), str(run), normalizer=str(tmp_path / "scale.json")).spec
    assert spec is not None
    Normalizer.fit(x, encoder.layout, clip=4).save(tmp_path / "scale.json")
    with pytest.raises(InputError, match=r"scale\.json: another normalizer than the one that was recorded"):
        gym.make(spec)
    Normalizer.fit(x, encoder.layout).save(tmp_path / "scale.json")
    write_run(run, seed=1)
    with pytest.raises(InputError, match="run: another encoder than the one that was recorded"):
        gym.make(spec)
    shutil.rmtree(run)
    with pytest.raises(InputError, match="run: no such run folder or checkpoint") as error:
        gym.make(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("normalised", [False, True])
def test_observations_lie_in_their_space(run: Path, scale: Path, normalised: bool) -> None:
    settings: dict[str, Any] = {"track": True, "stack": 3, "images": {"observation": ["front", "back"]}}
    forms: list[dict[str, Any]] = [{}, {"flatten": True}, {"named": True}, {"dtype": "float16"}]
    for form in forms:
        path = str(scale) if normalised else None
        env = ParticleObservation(Walk(cameras=True), str(run), normalizer=path, **settings, **form)
        for observation in episode(env, 6):
            assert env.observation_space.contains(observation)
    box = ParticleObservation(Walk(), str(run), normalizer=str(scale)).observation_space
    assert isinstance(box, gym.spaces.Box)
    assert (box.low.min(), box.high.max()) == (-5, 5)


def test_forms_are_views_of_the_same_numbers(run: Path) -> None:
    def observed(**form: Any) -> Any:
        env = ParticleObservation(push(), str(run), images={"observation": "pixels"}, track=True, **form)
        return env.reset(seed=0)[0], env.layout

    (plain, layout), (flat, _) = observed(), observed(flatten=True)
    (half, _), (named, _) = observed(dtype="float16"), observed(named=True)
    packed = plain["observation"]
    np.testing.assert_array_equal(flat["observation"], packed.reshape(-1))
    np.testing.assert_array_equal(half["observation"], packed.astype(np.float16))
    keys = ["position", "scale", "depth", "transparency", "features", "missed"]
    assert list(named) == [f"observation_{key}" for key in keys]
    np.testing.assert_array_equal(np.concatenate(list(named.values()), -1), packed)
    assert layout.columns[-1] == "missed"


def test_cameras_make_one_set_with_a_column_that_tells_them_apart(run: Path) -> None:
    def observed(cameras: list[str]) -> np.ndarray:
        env = ParticleObservation(Walk(cameras=True), str(run), images={"observation": cameras})
        return env.reset(seed=0)[0]["observation"]

    both, swapped = observed(["front", "back"]), observed(["back", "front"])
    front, back = observed(["front"]), observed(["back"])
    n = len(front)
    np.testing.assert_array_equal(both[:, -1], [0] * n + [1] * n)
    np.testing.assert_allclose(both[:, :-1], np.concatenate([front, back]), atol=1e-6)
    np.testing.assert_allclose(swapped[:, :-1], np.roll(both[:, :-1], n, 0), atol=1e-6)


def test_a_stack_lies_on_the_token_axis_and_begins_anew_with_an_episode(run: Path) -> None:
    single, stacked = (ParticleObservation(Walk(length=4), str(run), stack=k) for k in (1, 3))
    assert stacked.layout.columns[-1] == "time"
    for seed in range(2):  # the second episode sees nothing of the first
        frames = episode(single, 4, seed)
        padded = [frames[0]] * 2 + frames
        for t, observation in enumerate(episode(stacked, 4, seed)):
            now, before, earlier = np.split(observation, 3)
            assert [set(part[:, -1]) for part in (now, before, earlier)] == [{0}, {-1}, {-2}]
            for part, expected in zip((earlier, before, now), padded[t : t + 3], strict=True):
                np.testing.assert_array_equal(part[:, :-1], expected)


def test_goals_are_not_stacked(run: Path) -> None:
    env = ParticleObservation(push(), str(run), stack=3, **GOALS)
    observation = episode(env, 2)[-1]
    assert observation["observation"].shape == (12, env.layout.dim)
    assert observation["achieved_goal"].shape == observation["desired_goal"].shape == (4, env.layout.dim)
    np.testing.assert_array_equal(observation["observation"][:4], observation["achieved_goal"])


class Counting(ParticleEncoder):
    """Knows what it was asked to encode."""

    def raw(self, frames: np.ndarray) -> np.ndarray:
        self.batches = [*getattr(self, "batches", []), len(frames)]
        return super().raw(frames)


def test_pictures_are_encoded_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlp_dyn.observation.encoder.ParticleEncoder", Counting)
    env = ParticleObservation(push(), str(run), **GOALS)
    encoder = env.encoder
    assert isinstance(encoder, Counting)
    observation, _ = env.reset(seed=0)
    assert encoder.batches == [2]  # the picture of now, under two keys, and the goal's
    env.step(np.array([1, 0], np.float32))
    assert encoder.batches == [2, 1]  # the goal is as it was
    again, _ = env.reset(seed=0)
    assert encoder.batches == [2, 1, 2]  # an episode does not depend on the one before
    for key in observation:
        np.testing.assert_array_equal(observation[key], again[key])


def test_rewards_are_the_environments_own(run: Path) -> None:
    env = ParticleObservation(push(n_objects=2), str(run), **GOALS)
    env.reset(seed=0)
    observation, reward, *_ = env.step(np.array([1, 0], np.float32))
    goals = observation["achieved_state"], observation["desired_state"]
    assert env.compute_reward(*goals, {}) == reward
    achieved, desired = (np.stack([goal, goal]) for goal in goals)
    batched = env.compute_reward(achieved, desired, {})
    np.testing.assert_array_equal(batched, [reward, reward])
    with pytest.raises(
        InputError, match=r"achieved_goal has shape \(4, 10\), the environment's goals have \(2, 8\)"
    ):
        env.compute_reward(observation["achieved_goal"], observation["desired_goal"], {})


def test_pictures_stay_where_they_are(run: Path) -> None:
    env = ParticleObservation(push(), str(run), **GOALS)
    _, reset_info = env.reset(seed=0)
    *_, info = env.step(np.array([1, 0], np.float32))
    assert not [v for v in itertools.chain(reset_info.values(), info.values()) if np.ndim(v) > 1]
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    assert picture.dtype == np.uint8


class ParticleReward(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Minus the distance of the mean particle from that of the goal."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        super().__init__(env)

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:  # noqa: ARG002
        gap = np.zeros(np.shape(achieved_goal)[:-2])
        for i in range(np.shape(achieved_goal)[-2]):
            gap = gap + (np.float64(achieved_goal[..., i, 0]) - desired_goal[..., i, 0])
        return -np.abs(gap)

    def step(self, action: Any) -> Any:
        observation, _, *rest = self.env.step(action)
        goals = observation["achieved_goal"], observation["desired_goal"]
        return observation, float(self.compute_reward(*goals, {})), *rest


@pytest.mark.filterwarnings("ignore")  # Gymnasium's and SB3's advice: wrapped, unbounded, not one-dimensional
def test_gymnasium_and_stable_baselines_accept_it(run: Path, scale: Path) -> None:
    path = str(scale)
    states: dict[str, Any] = {
        "images": {"observation": "pixels"},
        "keep": {k: k for k in ("achieved_goal", "desired_goal")},
    }
    envs = [
        ParticleObservation(
            gym.make("Walk-v0"), str(run), normalizer=path, dtype="float16", track=True, stack=2
        ),
        ParticleObservation(
            gym.make("Walk-v0", cameras=True), str(run), images={"a": ["front", "back"]}, flatten=True
        ),
        ParticleObservation(push(), str(run), normalizer=path, **states),
        ParticleReward(ParticleObservation(push(), str(run), normalizer=path, track=True, stack=2, **GOALS)),
    ]
    for env in envs:
        check_env(env, skip_render_check=True)
        check_sb3(env)
    named = ParticleObservation(gym.make("Walk-v0"), str(run), named=True)
    check_env(named, skip_render_check=True)
    check_sb3(named)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stack": 0}, "stack 0: use 1"),
        ({"dtype": "int8"}, "dtype 'int8': use one of float32, float16"),
        ({"flatten": True, "named": True}, "flatten and named exclude each other"),
        ({"images": {"observation": "pixel"}}, "no key 'pixel' .* there are achieved_goal, desired_goal, goal_pixels"),
        ({"images": {"observation": []}}, "name one picture or more for each key"),
        ({"images": {"observation": "achieved_goal"}}, "'achieved_goal': .* is no picture"),
        ({"images": {"a": "pixels"}, "keep": {"a": "observation"}}, "a: in images and in keep"),
        ({"images": {"a": "pixels"}, "keep": {"b": "state"}}, "no key 'state'"),
        ({}, 'a Dict with pictures: say which ones with images={"observation": "pixels"}'),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(run: Path, settings: dict, message: str) -> None:
    base = {"images": {"observation": "pixels"}} if settings and "images" not in settings else {}
    with pytest.raises(InputError, match=message) as error:
        ParticleObservation(push(), str(run), **base, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (lambda: gym.make("CartPole-v1"), "no pixels in Box.*AddRenderObservation"),
        (lambda: push(pixels=False), "no pixels in Dict"),
        (lambda: gym.wrappers.ResizeObservation(Walk(), (48, 48)), r"shape \(48, 48, 3\), the encoder .* reads \(32"),
        (lambda: gym.wrappers.GrayscaleObservation(Walk(), keep_dim=True), r"shape \(32, 32, 1\)"),
    ],
)  # fmt: skip
def test_environments_without_fitting_pictures_are_refused(run: Path, env: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        ParticleObservation(env(), str(run))
    assert "\n" not in str(error.value)


def test_numbers_that_are_none_are_refused(run: Path) -> None:
    class Broken(gym.ObservationWrapper[Any, Any, Any]):
        def observation(self, observation: Any) -> Any:
            return {**observation, "step": np.array([np.nan], np.float32)}

    env = ParticleObservation(
        Broken(Walk(cameras=True)), str(run), images={"observation": "front"}, keep={"step": "step"}
    )
    with pytest.raises(InputError, match="observation 'step': has NaN"):
        env.reset(seed=0)


def test_other_environments_work_through_rendering(run: Path) -> None:
    state = gym.spaces.Box(0, 1, (2,), np.float32)
    env = gym.wrappers.TransformObservation(Walk(), lambda _: np.zeros(2, np.float32), state)
    env = ParticleObservation(gym.wrappers.AddRenderObservation(env, render_only=True), str(run))
    np.testing.assert_array_equal(
        env.reset(seed=0)[0], ParticleObservation(Walk(), str(run)).reset(seed=0)[0]
    )
