import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from dlp_dyn.data.collect import collect
from dlp_dyn.data.images import as_rgb, fit, image_key
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError

SIDE = 16
ENV = "counting_env:Counting-v0"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)


def play(path, env_id=ENV, **options):
    collect(env_id, path, **{"episodes": 6, "image_size": None, **options})
    return Rollouts(path)


@pytest.mark.parametrize("kind", ["image", "dict", "render"])
def test_frames_actions_and_ends_are_aligned(tmp_path, kind):
    rollouts = play(tmp_path / "x.h5", env_kwargs={"kind": kind})
    lengths = set()
    for number in range(6):
        episode = rollouts.episode(number)
        frames, actions, terminated = episode.frames[:, 0, 0], episode.actions, episode.terminated
        assert actions is not None
        assert terminated is not None
        assert episode.rewards is not None
        assert episode.truncated is not None
        # The first frame is the reset one, the last the terminal one, all of one episode.
        assert frames[:, 0].tolist() == list(range(len(episode)))
        assert (frames[:, 1] == frames[0, 1]).all()
        assert (frames[1:, 2] == actions[:-1].argmax(-1)).all()
        assert (actions[:-1].sum(-1) == 1).all()
        assert not actions[-1].any()
        assert episode.rewards.tolist() == [*range(1, len(episode)), 0]
        assert np.flatnonzero(terminated).tolist() == [len(episode) - 2]
        assert not episode.truncated.any()
        lengths.add(len(episode))
    assert len(lengths) > 1
    assert len({tuple(rollouts.episode(i).frames[0, 0, 0]) for i in range(6)}) > 1


def test_all_actions_of_a_block_stand_beside_its_frame(tmp_path):
    rollouts = play(tmp_path / "x.h5", action_block=3, policy="counting_env:Alternate")
    one_by_one = play(tmp_path / "y.h5", policy="counting_env:Alternate")
    assert rollouts.attributes["action_block"] == 3
    for number in range(6):
        blocks, single = rollouts.episode(number), one_by_one.episode(number)
        assert blocks.actions is not None
        assert blocks.rewards is not None
        assert single.actions is not None
        assert single.rewards is not None
        assert blocks.terminated is not None
        n = len(single) - 1
        kept = [*range(0, n, 3), n]
        assert blocks.frames[:, 0, 0, 0].tolist() == kept
        done = blocks.actions[:-1].reshape(-1, 5)
        np.testing.assert_array_equal(done[:n], single.actions[:n])
        assert not done[n:].any()
        assert blocks.rewards.tolist() == [
            *(single.rewards[a:b].sum() for a, b in pairwise(kept)), 0
        ]  # fmt: skip
        assert np.flatnonzero(blocks.terminated).tolist() == [len(blocks) - 2]


def test_a_policy_may_read_the_info(tmp_path):
    episode = play(tmp_path / "x.h5", policy="counting_env:informed").episode(0)
    assert episode.actions is not None
    assert episode.actions[:-1].argmax(-1).tolist() == [4, *(i % 5 for i in range(1, len(episode) - 1))]


def test_file_depends_on_the_seed_only(tmp_path):
    runs = {"first": (1, 0), "again": (1, 0), "parallel": (2, 0), "other": (1, 1)}
    for name, (n_envs, seed) in runs.items():
        play(tmp_path / name, n_envs=n_envs, seed=seed)
    first, again, parallel, other = ((tmp_path / name).read_bytes() for name in runs)
    assert first == again == parallel != other


def test_ground_truth_is_of_the_frame_beside_it(tmp_path):
    episode = play(tmp_path / "x.h5").episode(0)
    assert episode.states is not None
    np.testing.assert_allclose(
        episode.states["position"][:, 0, 0], episode.frames[:, 0, 0, 0] / 10, rtol=1e-6
    )
    assert (episode.states["visible"][:, 0] == (episode.frames[:, 0, 0, 0] % 2 == 0)).all()
    # Positions are those of the whole picture.
    assert play(tmp_path / "cropped.h5", crop=(0, 0, 8, 8)).episode(0).states is None


def test_frame_skip_and_max_steps(tmp_path):
    rollouts = play(tmp_path / "x.h5", frame_skip=3, max_steps=2, policy="counting_env:Alternate")
    for number in range(6):
        episode = rollouts.episode(number)
        assert episode.actions is not None
        assert episode.rewards is not None
        assert episode.terminated is not None
        assert episode.truncated is not None
        counts = episode.frames[:, 0, 0, 0].tolist()
        assert (np.diff(counts) <= 3).all()
        assert episode.rewards.sum() == sum(range(counts[-1] + 1))
        assert episode.actions[:-1].argmax(-1).tolist() == list(range(len(episode) - 1))
        # Ended by the environment or by us, never both.
        assert episode.terminated.sum() + episode.truncated.sum() == 1
        if episode.truncated.any():
            assert counts == [0, 3, 6]
    assert rollouts.attributes["fps"] == pytest.approx(20 / 3)


def test_function_policy_sees_the_observation(tmp_path):
    episode = play(tmp_path / "x.h5", policy="counting_env:follow").episode(0)
    assert episode.actions is not None
    assert episode.actions[:-1].argmax(-1).tolist() == [t % 5 for t in range(len(episode) - 1)]


def test_resize_and_progress(tmp_path):
    told = []
    rollouts = play(tmp_path / "x.h5", image_size=8, crop=(0, 0, 16, 8), progress=told.append)
    assert rollouts.image_size == (8, 8)
    assert told == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"env_id": "NoSuchEnv-v0"}, "NoSuchEnv-v0: cannot be made"),
        ({"env_id": "no_such_package/Env-v0"}, "No module named"),
        ({"env_id": "no_such_module:Env-v0"}, "No module named"),
        ({"env_id": "malformed id"}, "cannot be made"),
        ({"env_kwargs": {"nonsense": 1}}, "unexpected keyword"),
        ({"env_kwargs": {"kind": "none"}}, "no pixels"),
        ({"env_kwargs": {"kind": "none"}, "source": "observation"}, "holds no uint8 image"),
        ({"policy": "best"}, "random or module:function"),
        ({"policy": "no_such_module:f"}, "cannot be imported"),
        ({"policy": "counting_env:no_such_function"}, "cannot be imported"),
        ({"policy": "counting_env:SIDE"}, "not a function"),
        (
            {"policy": "counting_env:blind"},
            r"is called with \(observation, action_space, rng\), which it does not",
        ),
        ({"policy": "counting_env:wrong"}, "not in the action space"),
        ({"crop": (0, 0, 17, 16)}, "does not lie inside"),
        ({"episodes": 0}, "1 or more"),
        ({"frame_skip": 0}, "1 or more"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_file(tmp_path, options, reason):
    with pytest.raises(InputError, match=reason) as error:
        play(tmp_path / "x.h5", **options)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_error_in_a_worker_process_is_one_line(tmp_path):
    with pytest.raises(InputError, match="not in the action space"):
        play(tmp_path / "x.h5", n_envs=2, episodes=2, policy="counting_env:wrong")


def test_where_an_image_is():
    image, grid = gym.spaces.Box(0, 255, (64, 48, 3), np.uint8), gym.spaces.Box(0, 255, (7, 7, 3), np.uint8)
    assert image_key(image) == ()
    assert image_key(grid) is None
    assert image_key(gym.spaces.Dict(agent=gym.spaces.Dict(pixels=image), goal=image)) == ("agent", "pixels")
    assert image_key(gym.spaces.Dict(goal=image, pixels=image)) == ("pixels",)
    assert image_key(gym.spaces.Box(0, 1, (64, 64, 3), np.float32)) is None


def test_pictures_of_any_kind():
    grey = np.linspace(0, 255, 48).reshape(6, 8).astype(np.uint8)
    expected = np.repeat(grey[..., None], 3, -1)
    scaled, wide = expected / 255, expected.astype(np.uint16) * 257
    for same in (grey, grey[..., None], expected, scaled, wide, expected.transpose(2, 0, 1)):
        np.testing.assert_array_equal(as_rgb(same, "x"), expected)
    clear = np.concatenate([expected, np.zeros((6, 8, 1), np.uint8)], -1)
    assert not as_rgb(clear, "x", alpha=True).any()
    ones = np.ones((6, 8, 3))
    for bad in (np.nan * ones, 7 * ones, ones.astype(int), ones[..., :2], ones[0, 0]):
        with pytest.raises(InputError, match=r"^x: "):
            as_rgb(bad, "x")


def test_shrinking_averages_over_areas():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    means = image.reshape(16, 4, 16, 4, 3).mean((1, 3))
    np.testing.assert_allclose(fit(image, 16, None, "x"), means, atol=0.51)
    assert fit(image[:, :40], None, "square", "x").shape == (40, 40, 3)
    assert fit(image, 100, None, "x").shape == (100, 100, 3)


def test_pusht(tmp_path):
    pytest.importorskip("gym_pusht", reason="needs the extra `pusht`, which excludes the extra `envs`")
    gym.registry.pop("gym_pusht/PushT-v0")
    sys.modules.pop("gym_pusht")  # the id alone has to bring the package in
    options = {"episodes": 2, "max_steps": 60, "image_size": 64, "policy": "envs.policies:TowardBlock"}
    rollouts = play(tmp_path / "x.h5", "gym_pusht/PushT-v0", **options)
    assert rollouts.image_size == (64, 64)
    assert rollouts.action_dim == 2


class Reusing(gym.Env):
    """Writes every frame and every truth into the same arrays; `scale` is the step of the brightness."""

    observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, scale=10):
        self.scale, self.screen, self.position = scale, np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((1, 2))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed, options=options)
        self.screen[:], self.position[:] = 0, 0
        return self.screen, {}

    def step(self, action):  # noqa: ARG002
        self.screen += self.scale
        self.position += 0.1
        return self.screen, 0.0, bool(self.screen[0, 0, 0] == 5 * self.scale), False, {}

    def ground_truth(self):
        return {"position": self.position}


def test_arrays_that_an_environment_writes_into_again_are_copied(tmp_path):
    gym.register("Reusing-v0", entry_point=lambda **settings: Reusing(**settings))
    collect("Reusing-v0", tmp_path / "x.h5", episodes=3, image_size=None)
    rollouts = Rollouts(tmp_path / "x.h5")
    for number in range(3):
        episode = rollouts.episode(number)
        assert episode.frames[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
        assert episode.states is not None
        np.testing.assert_allclose(episode.states["position"][:, 0, 0], 0.1 * np.arange(6), atol=1e-6)


@pytest.mark.parametrize("scale", [2, 4])
def test_codes_are_no_picture(tmp_path, scale):
    gym.register("Codes-v0", entry_point=lambda **settings: Reusing(**settings), kwargs={"scale": scale})
    with pytest.raises(InputError, match=f"no picture: the brightest value of an episode is {5 * scale}"):
        collect("Codes-v0", tmp_path / "x.h5", episodes=3)


class Line(gym.Env):
    """Renders 360 x 480 pixels; a white line, one pixel wide, stands a pixel further to the right each step."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, kind="picture", render_mode=None):
        self.kind, self.render_mode = kind, render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed, options=options)
        self.at = 100
        return np.zeros(2, np.float32), {}

    def step(self, action):  # noqa: ARG002
        self.at += 1
        return np.zeros(2, np.float32), 0.0, False, False, {}

    def render(self):
        screen = np.zeros((360, 480, 3), np.uint8)
        screen[:, self.at] = 255
        others = {
            "labels": np.full((360, 480), 7, np.int32),
            "heights": np.linspace(-3, 900, 480, dtype=np.float32)[None].repeat(360, 0),
            "nothing": np.full((360, 480, 3), np.nan, np.float32),
            "two": screen[..., :2],
            "list": [screen, screen],
        }
        return others.get(self.kind, screen)


def test_a_thin_line_survives_shrinking(tmp_path):
    gym.register("Line-v0", entry_point=lambda **settings: Line(**settings))
    collect("Line-v0", tmp_path / "x.h5", episodes=1, max_steps=30, image_size=64)
    frames = Rollouts(tmp_path / "x.h5").episode(0).frames.astype(float)
    expected = 255 * 64 / 480  # what a line of one of 480 pixels gives to a row of 64
    np.testing.assert_allclose(frames[..., 0].sum(2), expected, atol=1)
    places = (frames[..., 0] * np.arange(64)).sum(2) / frames[..., 0].sum(2)
    assert (np.diff(places[:, 0]) >= 0).all()
    assert places[-1, 0] - places[0, 0] == pytest.approx(30 * 64 / 480, abs=1)


def test_what_an_environment_draws_with_is_missing(tmp_path, monkeypatch):
    def missing(_self):
        raise gym.error.DependencyNotInstalled("pygame is not installed,\nrun pip install pygame")

    monkeypatch.setattr(Line, "render", missing)
    gym.register("Undrawn-v0", entry_point=lambda **settings: Line(**settings))
    with pytest.raises(InputError, match=r"cannot draw its pictures \(pygame is not installed") as caught:
        collect("Undrawn-v0", tmp_path / "x.h5", episodes=1)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize("kind", ["labels", "heights", "nothing", "two", "list"])
def test_values_that_are_no_picture_are_refused(tmp_path, kind):
    gym.register("Line-v0", entry_point=lambda **settings: Line(**settings))
    with pytest.raises(InputError, match="Line-v0: "):
        collect("Line-v0", tmp_path / "x.h5", episodes=1, max_steps=3, env_kwargs={"kind": kind})
    assert not list(tmp_path.iterdir())


def test_four_channels_are_rgba_only_where_that_is_sure():
    grey = np.dstack([np.full((8, 8), 20 * k, np.uint8) for k in range(4)])
    with pytest.raises(InputError, match="stacked grey"):
        as_rgb(grey, "x")
    np.testing.assert_allclose(as_rgb(grey, "x", alpha=True), grey[..., :3] * (60 / 255), atol=0.5)
    opaque = np.dstack([grey[..., :3], np.full((8, 8), 255, np.uint8)])
    np.testing.assert_array_equal(as_rgb(opaque, "x"), grey[..., :3])


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_pixels_of_a_camera_with_fewer_bits_than_sixteen(bits):
    values = np.linspace(0, 255, 64).astype(np.uint16).reshape(8, 8)
    deep = values << (bits - 8)
    np.testing.assert_array_equal(as_rgb(deep, "x", bits=bits)[..., 0], values)
    if bits < 16:
        with pytest.raises(InputError, match=f"of a camera of {bits} bits"):
            as_rgb(deep, "x")
        with pytest.raises(InputError, match="more than 8 bits"):
            as_rgb(deep, "x", bits=8)
    else:
        np.testing.assert_array_equal(as_rgb(deep, "x")[..., 0], values)
