import sys
from typing import Any

import cv2
import imageio.v3 as iio
import numpy as np
import pytest

from dlp_dyn.data.convert import convert
from dlp_dyn.data.readers import Choices
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError


def video(number: int, length: int, side: int = 32) -> np.ndarray:
    """A flat field whose colour is (10 * number, 10 * t, 200)."""
    frames = np.full((length, side, side, 3), 200, np.uint8)
    frames[..., 0] = 10 * number
    frames[..., 1] = 10 * np.arange(length)[:, None, None]
    return frames


def write_frames(folder, frames, name="{}.png"):
    folder.mkdir(parents=True)
    for t, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / name.format(t)), frame[..., ::-1])


def imported(source, out, **options):
    convert(source, out, **options)
    return Rollouts(out)


@pytest.mark.parametrize(("validation", "name"), [("val", "test_{}.png"), ("valid", "{}.png")])
def test_split_folders_of_episodes(tmp_path, validation, name):
    root = tmp_path / "data"
    for number, (part, episode) in enumerate([("train", 2), ("train", 10), (validation, 0), ("test", 0)]):
        write_frames(root / part / str(episode), video(number, 12), name)
    rollouts = imported(root, tmp_path / "x.h5")
    assert rollouts.episode_lengths.tolist() == [12] * 4
    assert [rollouts.part(part).tolist() for part in ("train", "validation", "test")] == [[0, 1], [2], [3]]
    for episode in range(4):  # episode 10 after episode 2, frame 10 after frame 9
        np.testing.assert_array_equal(rollouts.episode(episode).frames, video(episode, 12))


def test_folder_of_episodes_and_one_episode(tmp_path):
    for number in range(4):
        write_frames(tmp_path / "data" / f"ep{number}", video(number, 5))
    rollouts = imported(tmp_path / "data", tmp_path / "x.h5", image_size=16)
    assert rollouts.image_size == (16, 16)
    np.testing.assert_array_equal(rollouts.episode(3).frames, video(3, 5, 16))
    assert {len(rollouts.part(part)) for part in ("validation", "test")} == {1}
    one = imported(tmp_path / "data" / "ep1", tmp_path / "y.h5", episode_length=2)
    assert one.episode_lengths.tolist() == [2, 2, 1]


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_videos(tmp_path, suffix):
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(3):
        options: dict[str, Any] = {"duration": 100, "loop": 0} if suffix == "gif" else {"fps": 10}
        iio.imwrite(folder / f"{number}.{suffix}", video(5 * number, 8), **options)
    rollouts = imported(folder, tmp_path / "x.h5")
    assert rollouts.episode_lengths.tolist() == [8] * 3
    for number in range(3):
        frames = rollouts.episode(number).frames.astype(int)
        np.testing.assert_allclose(frames, video(5 * number, 8), atol=0 if suffix == "gif" else 12)
    single = imported(folder / f"1.{suffix}", tmp_path / "y.h5")
    assert single.n_episodes == 1
    assert single.attributes["fps"] == pytest.approx(10)


def test_arrays(tmp_path):
    both = np.stack([video(0, 7), video(1, 7)])
    np.save(tmp_path / "a.npy", both)
    np.save(tmp_path / "b.npy", both.reshape(14, 32, 32, 3))
    np.save(tmp_path / "c.npy", both.astype(np.float32) / 255)
    np.savez(tmp_path / "d.npz", frames=both.reshape(14, 32, 32, 3), episode_ends=[7, 14])
    for name in ("a.npy", "c.npy", "d.npz"):
        rollouts = imported(tmp_path / name, tmp_path / "x.h5")
        assert rollouts.episode_lengths.tolist() == [7, 7]
        np.testing.assert_array_equal(rollouts.episode(1).frames, video(1, 7))
    pieces = imported(tmp_path / "b.npy", tmp_path / "x.h5", episode_length=4)
    assert pieces.episode_lengths.tolist() == [4, 4, 4, 2]
    assert imported(tmp_path / "b.npy", tmp_path / "x.h5").n_episodes == 1


@pytest.mark.parametrize("rows", [6, 7])
def test_actions_of_an_npz(tmp_path, rows):
    both, actions = np.stack([video(0, 7), video(1, 7)]), np.arange(2 * 7 * 3.0).reshape(2, 7, 3)
    np.savez(tmp_path / "a.npz", images=both, actions=actions[:, :rows], rewards=actions[:, :rows, 0])
    rollouts = imported(tmp_path / "a.npz", tmp_path / "x.h5")
    read = rollouts.episode(1)
    assert read.actions is not None
    np.testing.assert_array_equal(read.actions[:-1], actions[1, :-1])
    assert not read.actions[-1].any()
    # Cut into pieces, an action never leads over a cut.
    pieces = imported(tmp_path / "a.npz", tmp_path / "x.h5", episode_length=3)
    assert pieces.episode_lengths.tolist() == [3, 3, 1, 3, 3, 1]
    piece = pieces.episode(1).actions
    assert piece is not None
    np.testing.assert_array_equal(piece, [*actions[0, 3:5], np.zeros(3)])
    np.savez(tmp_path / "b.npz", images=both, actions=actions[:, :4])
    with pytest.raises(InputError, match="rows of actions"):
        convert(tmp_path / "b.npz", tmp_path / "x.h5")


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
def test_minari(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari", reason="needs the extra `minari`")
    import gymnasium as gym
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    image = gym.spaces.Box(0, 255, (32, 32, 3), np.uint8)
    buffers = [
        EpisodeBuffer(
            id=number,
            observations={"pixels": video(number, 6), "state": np.zeros((6, 2), np.float32)},
            actions=list(range(5)),
            rewards=[0.0, 0, 0, 0, 1],
            terminations=[False] * 4 + [True],
            truncations=[False] * 5,
        )
        for number in range(3)
    ]
    minari.create_dataset_from_buffers(
        "toy/images-v0",
        buffers,
        observation_space=gym.spaces.Dict(pixels=image, state=gym.spaces.Box(-1, 1, (2,), np.float32)),
        action_space=gym.spaces.Discrete(5),
        jpeg_encoding=False,
    )
    for source in ("toy/images-v0", tmp_path / "minari" / "toy" / "images-v0"):
        rollouts = imported(source, tmp_path / "x.h5")
        assert rollouts.n_episodes == 3
        episode = rollouts.episode(2)
        assert episode.actions is not None
        assert episode.terminated is not None
        np.testing.assert_array_equal(episode.frames, video(2, 6))
        np.testing.assert_array_equal(episode.actions, [*np.eye(5), np.zeros(5)])
        assert np.flatnonzero(episode.terminated).tolist() == [4]
    with pytest.raises(InputError, match="no readable Minari"):
        convert("toy/absent-v0", tmp_path / "x.h5")


def test_minari_absent_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(InputError, match="pip install"):
        convert("toy/images-v0", tmp_path / "x.h5")


def test_bad_sources_are_one_line_and_leave_no_file(tmp_path):
    mixed, broken, empty, hollow = (tmp_path / name for name in ("mixed", "broken", "empty", "hollow"))
    write_frames(mixed, [*video(0, 3), np.zeros((20, 32, 3), np.uint8)])
    write_frames(broken, video(0, 3))
    (broken / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    empty.mkdir()
    write_frames(hollow / "0", video(0, 2))
    (hollow / "0" / "2.png").touch()
    text = tmp_path / "text.mp4"
    text.write_text("this is not a video")
    gif = tmp_path / "text.gif"
    gif.write_text("nor is this")
    np.save(tmp_path / "nan.npy", np.full((2, 8, 8, 3), np.nan, np.float32))
    np.save(tmp_path / "large.npy", np.full((2, 8, 8, 3), 255.0))
    np.save(tmp_path / "flat.npy", np.zeros((8, 8), np.uint8))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "text.npz").write_text("no arrays")
    np.savez(tmp_path / "names.npz", x=np.zeros((2, 8, 8, 3)), y=np.zeros((2, 8, 8, 3)))
    (tmp_path / "notes.txt").write_text("notes")
    for name, reason in {
        "mixed": "3.png: 32 x 20 pixels, frames before it 32 x 32; give an image size",
        "broken": "1.png: not an image",
        "hollow": "2.png: not an image",
        "empty": "no frames or videos",
        "absent": "no such file",
        "text.mp4": "not a video",
        "text.gif": "not an image",
        "nan.npy": "frame 0: has NaN",
        "large.npy": "scale them",
        "flat.npy": "is expected",
        "objects.npy": "not a .npy file of numbers",
        "text.npy": "not a .npy",
        "text.npz": "not a .npz",
        "names.npz": "several arrays of frames",
        "notes.txt": "not a format",
    }.items():
        with pytest.raises(InputError) as error:
            convert(tmp_path / name, tmp_path / "x.h5")
        assert reason in str(error.value)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("x.h5*"))
    # A size makes frames of several sizes one episode.
    assert imported(mixed, tmp_path / "x.h5", image_size=16).n_frames == 4


def test_few_episodes_are_told_to_leave_nothing_held_out(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    np.save(tmp_path / "one.npy", frames)
    told: list[str] = []
    convert(tmp_path / "one.npy", tmp_path / "one.h5", choices=Choices(tell=told.append))
    assert told[-1] == (
        "1 in all: no episode is left for validation and test; an episode_length cuts long ones, which leaves some"
    )
    with pytest.raises(InputError, match=r"one\.h5: no episode in the test part"):
        Rollouts(tmp_path / "one.h5").some_of("test")
    assert Rollouts(tmp_path / "one.h5").some_of("train").tolist() == [0]
