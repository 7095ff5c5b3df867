"""The goal replay buffer: steps, goals and rewards are those of whole episodes, whatever the ring has done."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.replay import SAVED, UNREACHED, GoalReplayBuffer
from dlp_dyn.errors import InputError

ACTIONS = gym.spaces.Box(-1, 1, (1,), np.float32)


def spaces_of(shape: tuple[int, ...], goal_shape: tuple[int, ...] | None = None) -> gym.spaces.Dict:
    boxes = {"observation": shape, "achieved_goal": goal_shape or shape, "desired_goal": goal_shape or shape}
    return gym.spaces.Dict({k: gym.spaces.Box(-np.inf, np.inf, s, np.float32) for k, s in boxes.items()})


def gap(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    return -np.abs(achieved.astype(np.float64) - desired).sum((-1, -2))


def name_of(env: int, episode: int, step: int, n: int = 2) -> np.ndarray:
    """An observation that says where it comes from."""
    return np.tile(np.array([env, episode, step], np.float32), (n, 1))


class Play:
    """Episodes of different lengths in several environments, told to buffers step by step."""

    def __init__(self, n_envs: int, terminates: bool = False) -> None:
        self.n_envs, self.terminates = n_envs, terminates
        self.episode, self.step = np.zeros(n_envs, int), np.zeros(n_envs, int)

    def length(self, env: int) -> int:
        return 1 + (3 * env + 5 * int(self.episode[env])) % 7

    def goal(self, env: int) -> np.ndarray:
        return name_of(env, self.episode[env], -100)

    def observe(self) -> dict[str, np.ndarray]:
        envs = range(self.n_envs)
        at = np.stack([name_of(i, self.episode[i], self.step[i]) for i in envs])
        return {
            "observation": at,
            "achieved_goal": at,
            "desired_goal": np.stack([self.goal(i) for i in envs]),
        }

    def __call__(self, *buffers: Any) -> None:
        obs = self.observe()
        self.step += 1
        following = self.observe()
        done = np.array([self.step[i] == self.length(i) for i in range(self.n_envs)])
        infos = [
            {
                "achieved_state": following["achieved_goal"][i],
                "desired_state": obs["desired_goal"][i],
                "TimeLimit.truncated": bool(done[i] and not self.terminates),
            }
            for i in range(self.n_envs)
        ]
        action = (self.step - 1)[:, None] / 10
        reward = gap(following["achieved_goal"], obs["desired_goal"])
        for buffer in buffers:
            buffer.add(obs, following, action, reward, done, infos)
        self.episode[done] += 1
        self.step[done] = 0


def make(rows: int = 40, n_envs: int = 3, **settings: Any) -> GoalReplayBuffer:
    settings = {"reward": gap, **settings}
    return GoalReplayBuffer(rows * n_envs, spaces_of((2, 3)), ACTIONS, "cpu", n_envs, **settings)


@pytest.mark.parametrize("steps", [5, 30, 200])
@pytest.mark.parametrize("dtype", [None, "float16"])
def test_a_sample_is_a_step_of_one_episode_and_its_goal_lies_ahead(steps: int, dtype: Any) -> None:
    buffer, play = make(dtype=dtype), Play(3)
    for _ in range(steps):
        play(buffer)
    batch = buffer.sample(2000)
    here, there, goal = (
        x.numpy()[:, 0].astype(int)
        for x in (batch.observations["observation"], batch.next_observations["observation"],
                  batch.observations["desired_goal"])
    )  # fmt: skip
    assert (here[:, :2] == there[:, :2]).all()
    assert (here[:, :2] == goal[:, :2]).all()
    assert (there[:, 2] == here[:, 2] + 1).all()
    np.testing.assert_allclose(batch.actions.numpy()[:, 0], here[:, 2] / 10, rtol=1e-6)
    virtual, real = goal[:1600], goal[1600:]
    assert batch.same_rows.tolist() == [True] * 1600 + [False] * (len(goal) - 1600)
    assert (virtual[:, 2] >= there[:1600, 2]).all()
    assert (real[:, 2] == -100).all()
    told = batch.steps.numpy()[:, 0]
    assert (told[:1600] == virtual[:, 2] - here[:1600, 2]).all()
    assert np.isinf(told[1600:]).all()
    expected = gap(there[:, None].repeat(2, 1), goal[:, None].repeat(2, 1))
    np.testing.assert_array_equal(batch.rewards.numpy()[:, 0], expected)
    assert not batch.dones.any()
    if (
        steps == 200
    ):  # the ring has turned: only the newest episodes are left, and all but one of them is whole
        assert here[:, 1].min() > 0


def test_what_does_not_count_as_reached_bounds_nothing() -> None:
    """As an object that has fallen, which earns nothing even where its fall is the goal."""
    buffer, play = (
        make(her=1.0, reward=lambda a, b: np.minimum(gap(a, b), 1.0 * (b[:, 0, 2] % 2) - 1)),
        Play(3),
    )
    for _ in range(30):
        play(buffer)
    batch = buffer.sample(500)
    odd = batch.observations["desired_goal"][:, 0, 2] % 2 == 1
    assert 100 < odd.sum() < 400
    assert torch.equal(batch.steps[:, 0].isfinite(), odd)


def test_every_future_step_is_equally_likely() -> None:
    buffer = make(n_envs=1, her=1.0)
    play = Play(1)
    play.length = lambda env: 6  # noqa: ARG005
    for _ in range(6):
        play(buffer)
    batch = buffer.sample(60_000)
    step = batch.observations["observation"][:, 0, 2].numpy()
    goal = batch.observations["desired_goal"][:, 0, 2].numpy()
    for now in range(6):
        counts = np.bincount(goal[step == now].astype(int), minlength=7)
        assert (counts[: now + 1] == 0).all()
        share = counts[now + 1 :] / counts.sum()
        np.testing.assert_allclose(share, 1 / (6 - now), atol=0.02)


@pytest.mark.parametrize("terminates", [False, True])
def test_it_holds_what_sb3s_her_buffer_holds(terminates: bool) -> None:
    """All steps of finished episodes, with the same goals when those are chosen alike."""

    class World(gym.Env[Any, Any]):
        observation_space, action_space = spaces_of((2, 3)), ACTIONS

        def compute_reward(self, achieved: np.ndarray, desired: np.ndarray, _: Any) -> np.ndarray:
            return gap(achieved, desired)

    theirs = HerReplayBuffer(300, spaces_of((2, 3)), ACTIONS, DummyVecEnv([World] * 3), "cpu", 3)
    ours, play = make(rows=100), Play(3, terminates)
    for _ in range(40):
        play(ours, theirs)
    rows, envs = np.nonzero(theirs.ep_length > 0)
    future = theirs.ep_start[rows, envs] + theirs.ep_length[rows, envs] - 1  # the last step of the episode
    theirs._sample_goals = lambda *_: theirs.next_observations["achieved_goal"][future, envs]  # pyright: ignore
    ended = ours.last[ours.first % ours.rows, np.arange(3)] < ours.head - 1
    ended |= ~ours.is_open
    here, mine = np.nonzero(ours.valid & ended)
    assert len(here) == len(rows) > 80
    for hindsight in (False, True):
        first = ours.first[here, mine]
        a = ours._samples(here, mine, (ours.last[first, mine] if hindsight else first) % ours.rows)
        b = (theirs._get_virtual_samples if hindsight else theirs._get_real_samples)(rows, envs)

        def table(x: Any) -> np.ndarray:
            parts = [x.observations["observation"], x.observations["desired_goal"], x.actions, x.dones, x.rewards,
                     x.next_observations["observation"], x.next_observations["desired_goal"]]  # fmt: skip
            flat = np.concatenate([p.flatten(1).numpy() for p in parts], 1)
            return flat[np.lexsort(flat[:, :3].T)]

        np.testing.assert_array_equal(table(a), table(b))


def test_sampling_changes_nothing_and_duplicates_agree_with_themselves() -> None:
    """ECRL wrote relabelled goals into the stored infos, so that a step drawn twice took the last goal for both."""
    buffer, play = make(rows=9, n_envs=1), Play(1)
    for _ in range(20):
        play(buffer)
    before = {name: np.copy(getattr(buffer, name)) for name in SAVED if getattr(buffer, name) is not None}
    for _ in range(10):
        batch = buffer.sample(512)  # of a handful of steps
        expected = gap(
            batch.next_observations["observation"].numpy(), batch.observations["desired_goal"].numpy()
        )
        np.testing.assert_array_equal(batch.rewards.numpy()[:, 0], expected)
        batch.observations["observation"].zero_()
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(buffer, name), array)


def test_rewards_and_goals_of_states_beside_the_observations() -> None:
    space = spaces_of((5, 4), (2, 3))
    settings: Any = {"reward": gap, "states": (2, 3), "her": 0.5}
    buffer = GoalReplayBuffer(90, space, ACTIONS, "cpu", 3, goals="states", **settings)
    play = Play(3)
    plain = play.observe

    def observe() -> dict[str, np.ndarray]:
        seen = plain()
        return {**seen, "observation": np.broadcast_to(seen["observation"][:, :1, 2:], (3, 5, 4)).copy()}

    play.observe = observe  # pyright: ignore[reportAttributeAccessIssue]
    for _ in range(50):
        play(buffer)
    batch = buffer.sample(400)
    goal, step = (
        batch.observations["desired_goal"].numpy(),
        batch.next_observations["observation"].numpy()[:, 0, 0],
    )
    ahead = np.abs(goal[:, 0, 2] - step) * 2
    np.testing.assert_array_equal(batch.rewards.numpy()[:, 0], -ahead)
    assert (goal[:200, 0, 2] >= step[:200]).all()
    assert (goal[200:, 0, 2] == -100).all()


def test_pictures_stay_bytes() -> None:
    box = gym.spaces.Box(0, 255, (3, 36, 36), np.uint8)
    space = gym.spaces.Dict({"observation": box, "desired_goal": box})
    buffer = GoalReplayBuffer(20, space, ACTIONS, "cpu", 1, reward=lambda a, _: np.zeros(len(a)))
    picture = np.random.default_rng(0).integers(0, 255, (1, 3, 36, 36), np.uint8)
    both = {"observation": picture, "desired_goal": picture}
    buffer.add(both, both, np.zeros((1, 1)), np.zeros(1), np.zeros(1, bool), [{}])
    seen = buffer.sample(4).observations["observation"].numpy()
    assert seen.dtype == np.uint8
    np.testing.assert_array_equal(seen[0], picture[0])


def test_memory_of_ecrls_observation() -> None:
    """Two views of 24 particles with 10 numbers: 0.1 GB for 100,000 steps, where SB3's HER buffer takes 1.15."""
    actions = gym.spaces.Box(-1, 1, (3,), np.float32)
    buffer = GoalReplayBuffer(1000, spaces_of((48, 10)), actions, "cpu", reward=gap, dtype="float16")
    assert 960 < buffer.bytes_per_transition <= 1100


def test_an_episode_that_was_cut_is_not_continued() -> None:
    buffer, play = make(n_envs=1), Play(1)
    play.length = lambda env: 50  # noqa: ARG005
    for _ in range(4):
        play(buffer)
    buffer.end_episodes(np.arange(1))
    play.episode[:], play.step[:] = 7, 0
    for _ in range(3):
        play(buffer)
    batch = buffer.sample(500)
    here, there = (x["observation"][:, 0].numpy() for x in (batch.observations, batch.next_observations))
    assert (here[:, 1] == there[:, 1]).all()
    assert {0, 7} == set(here[:, 1].astype(int).tolist())


def test_saved_and_loaded_it_goes_on_alike(tmp_path: Path) -> None:
    buffer, play = make(states=(2, 3)), Play(3)
    for _ in range(70):
        play(buffer)
    file = tmp_path / "replay.npz"
    with file.open("wb") as stream:
        buffer.save(stream)
    again = make(states=(2, 3), seed=5)
    again.load(file)
    for _ in range(30):
        play(buffer, again)
        a, b = buffer.sample(32), again.sample(32)
        np.testing.assert_array_equal(a.observations["desired_goal"], b.observations["desired_goal"])
        np.testing.assert_array_equal(a.rewards, b.rewards)
    with pytest.raises(InputError, match="40 rows, this one has 41"):
        make(rows=41, states=(2, 3)).load(file)
    with pytest.raises(InputError, match="observations is"):
        make(dtype="float16", states=(2, 3)).load(file)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(InputError, match="damaged"):
        make().load(file)


def test_what_does_not_fit_is_said_in_a_line() -> None:
    with pytest.raises(InputError, match="nothing to sample"):
        make().sample(4)
    with pytest.raises(InputError, match="one shape"):
        GoalReplayBuffer(9, spaces_of((3, 3), (2, 3)), ACTIONS, "cpu", reward=gap)
    space = gym.spaces.Dict({"observation": gym.spaces.Box(0, 1, (2, 3))})
    with pytest.raises(InputError, match="'desired_goal' is missing"):
        GoalReplayBuffer(9, space, ACTIONS, "cpu", reward=gap)
    with pytest.raises(InputError, match="share"):
        make(her=1.5)
    buffer, play = make(rows=4, n_envs=1), Play(1)
    play.length = lambda env: 50  # noqa: ARG005
    play(buffer)
    play(buffer)
    with pytest.raises(InputError, match="more than 2 steps"):
        play(buffer)


def reached(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """0 where no object is farther from its goal than a step of `Play`, otherwise -1."""
    return (np.abs(achieved - desired)[..., 2].max(-1) <= 1) - 1.0


def test_goals_that_a_step_has_reached_already_are_drawn_again() -> None:
    shares = []
    for unreached in (False, True):
        buffer, play = (
            make(states=(2, 3), reward=reached, goals="states", unreached=unreached, her=1.0),
            Play(3),
        )
        for _ in range(70):
            play(buffer)
        batch = buffer.sample(2000)
        seen = {k: x.numpy() for k, x in batch.observations.items()}
        shares.append((reached(seen["observation"], seen["desired_goal"]) >= 0).mean())
    assert shares[0] > 0.2
    assert abs(shares[1] - (1 - UNREACHED) * shares[0]) < 0.05


def rarely(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
    """-1 where a goal is ahead of the second step of every thirtieth episode, otherwise 0."""
    return np.where(
        (achieved[:, 0, 1] % 30 == 1) & (achieved[:, 0, 2] == 1) & (gap(achieved, desired) < 0), -1.0, 0.0
    )


def test_what_hardly_ever_happens_is_found() -> None:
    """As where chance plays, and few steps are followed by anything."""
    shares = []
    for unreached in (False, True):
        buffer = make(rows=600, states=(2, 3), reward=rarely, goals="states", unreached=unreached, her=1.0)
        play = Play(3)
        for _ in range(400):
            play(buffer)
        batch = buffer.sample(2000)
        now, goal = (batch.observations[key].numpy() for key in ("observation", "desired_goal"))
        shares.append((rarely(now, goal) < 0).mean())
    assert shares[0] < 0.02
    assert shares[1] > 0.2


def test_rewards_of_each_object_are_of_its_own_goal() -> None:
    def far(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        return -np.abs(achieved - desired).sum(-1)

    buffer, play = make(states=(2, 3), goals="states", each=1.0, her=1.0, reward_each=far), Play(3)
    for _ in range(70):
        play(buffer)
    batch = buffer.sample(100)
    goal, then = (batch.observations["desired_goal"], batch.next_observations["observation"])
    assert batch.rewards.shape == (100, 2)
    assert torch.equal(batch.rewards, -(goal - then).abs().sum(-1))
    assert (batch.rewards[:, 0] != batch.rewards[:, 1]).any()


def test_goals_put_together_have_every_object_from_a_later_step_of_its_episode() -> None:
    buffer, play = make(states=(2, 3), goals="states", each=1.0, her=1.0), Play(3)
    for _ in range(70):
        play(buffer)
    batch = buffer.sample(500)
    goal, now = batch.observations["desired_goal"].numpy(), batch.observations["observation"].numpy()
    assert (goal[:, :, 1] == now[:, :1, 1]).all()  # of the same episode
    assert (goal[:, :, 2] > now[:, :1, 2]).all()  # later
    assert (goal[:, 0, 2] != goal[:, 1, 2]).mean() > 0.3
    assert batch.steps.isinf().all()  # nobody has reached them
    with pytest.raises(InputError, match="do not tell objects apart"):
        make(each=0.5)


def test_some_objects_keep_the_goal_of_the_episode() -> None:
    buffer, play = make(states=(2, 3), goals="states", each=1.0, kept=0.25, her=1.0), Play(3)
    for _ in range(70):
        play(buffer)
    with_goals = buffer.sample(2000).observations
    goal, now = with_goals["desired_goal"].numpy(), with_goals["observation"].numpy()
    assert (goal[:, :, 1] == now[:, :1, 1]).all()  # of the same episode
    own = goal[:, :, 2] == -100
    np.testing.assert_allclose(own.mean(0), 0.25, atol=0.04)
    assert abs(own.all(1).mean() - 0.25**2) < 0.03  # each object by itself
    with pytest.raises(InputError, match=r"kept is 0\.25, but no goals are put together"):
        make(states=(2, 3), goals="states", kept=0.25)
