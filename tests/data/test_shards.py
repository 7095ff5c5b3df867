"""A folder of rollout files is read as one file with all their episodes; what does not fit is one line."""

import dataclasses
import itertools
import os
import pickle
import resource
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.utils.data import DataLoader

from dlp_dyn.config import TrainConfig
from dlp_dyn.data.clips import ClipDataset, Ranges, collate
from dlp_dyn.data.excerpt import excerpt
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import PARTS, Episode, RolloutWriter, dataset
from dlp_dyn.errors import InputError
from dlp_dyn.training.loop import train
from dlp_dyn.training.particle_clips import encode_part
from dlp_dyn.video import VideoConfig, VideoModel
from dlp_dyn.viewer.run_data import data_of

LENGTHS = (5, 9, 2, 7, 6, 4, 8, 3)
SHARDS = (3, 1, 4)  # episodes of each file


def make_episode(number: int, side: int = 8, objects: int = 2, actions: bool = True) -> Episode:
    rng, n = np.random.default_rng(number), LENGTHS[number]
    frames = rng.integers(0, 256, (n, side, side, 3), np.uint8)
    taken = rng.normal(size=(n, 2)).astype(np.float32)
    taken[-1] = 0
    states = {"position": rng.normal(size=(n, objects, 2)).astype(np.float32)}
    return Episode(frames, taken if actions else None, np.arange(n) / 2, states=states)


def write(path: Path, episodes: list[Episode], first: int = 0, seed: int = 0, compress: bool = False) -> None:
    """The part of an episode follows from its number: a file and shards agree on it."""
    attributes = {"env_id": "toy", "seed": seed, "fps": 10.0}
    with RolloutWriter(path, attributes=attributes, compress=compress) as writer:
        for number, episode in enumerate(episodes, start=first):
            writer.append(episode, PARTS[(number % 4) // 2 if number != 7 else 2])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards; that of the middle is compressed, so its frames are no plain bytes."""
    first = 0
    for i, n in enumerate(SHARDS):
        episodes = [make_episode(number) for number in range(first, first + n)]
        write(tmp_path / "shards" / f"{i}.h5", episodes, first, seed=i, compress=i == 1)
        first += n
    return tmp_path / "shards"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(tmp_path / "whole.h5", [make_episode(number) for number in range(len(LENGTHS))])
    return tmp_path / "whole.h5"


def test_a_folder_reads_as_one_file(folder: Path, file: Path) -> None:
    shards, whole = Rollouts(folder), Rollouts(file)
    for name in ("n_frames", "n_episodes", "image_size", "action_dim", "has_actions", "state_names"):
        assert getattr(shards, name) == getattr(whole, name)
    for name in ("episode_starts", "episode_ends", "episode_lengths", "episode_parts"):
        assert_array_equal(getattr(shards, name), getattr(whole, name), strict=True)
    for part in PARTS:
        assert_array_equal(shards.part(part), whole.part(part))
    for number in range(len(LENGTHS)):
        read, expected = shards.episode(number).columns(), whole.episode(number).columns()
        assert read.keys() == expected.keys()
        for name in expected:
            assert_array_equal(read[name], expected[name], strict=True)
    rows = np.random.default_rng(0).permutation(whole.n_frames).reshape(4, -1)  # all files, in no order
    assert_array_equal(shards.frames(rows), whole.frames(rows), strict=True)
    assert shards.frames(rows[:0]).shape == (0, 11, 8, 8, 3)
    assert_array_equal(
        shards.read(10, 20).frames, whole.read(10, 20).frames
    )  # from the first to the last file
    for name in ("actions", "states/position"):
        assert_array_equal(shards.column(name), whole.column(name), strict=True)


@pytest.mark.parametrize(("length", "stride"), [(1, 1), (3, 1), (2, 3)])
def test_clips_of_a_folder_are_those_of_one_file(folder: Path, file: Path, length: int, stride: int) -> None:
    shards, whole = ClipDataset(folder, "train", length, stride), ClipDataset(file, "train", length, stride)
    assert len(shards) == len(whole)
    index = np.random.default_rng(0).permutation(len(whole)).tolist()
    clips, expected = collate(shards.__getitems__(index)), collate(whole.__getitems__(index))
    assert clips.actions is not None
    assert expected.actions is not None
    assert (clips.frames == expected.frames).all()
    assert (clips.actions == expected.actions).all()


def test_files_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number, name in enumerate(("b", "a", "c")):
        write(tmp_path / f"{name}.h5", [make_episode(number)], number)
    (tmp_path / "README.md").write_text("no rollout file, and not named like one")
    (tmp_path / "d.h5.partial").write_text("a file that is being written")
    rollouts = Rollouts(tmp_path)
    assert [file.name for file in rollouts.files] == ["a.h5", "b.h5", "c.h5"]
    assert rollouts.episode_lengths.tolist() == [LENGTHS[1], LENGTHS[0], LENGTHS[2]]


def test_attributes_are_those_on_which_all_files_agree(folder: Path, tmp_path: Path) -> None:
    attributes = Rollouts(folder).attributes
    assert attributes == {"format_version": 1, "split_seed": 0, "env_id": "toy", "fps": 10.0}
    excerpt(folder, tmp_path / "few.h5", "train", 3, 2)
    assert Rollouts(tmp_path / "few.h5").attributes == attributes


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_a_folder(folder: Path, context: str) -> None:
    data = ClipDataset(folder, "train", 2)
    loader = DataLoader(data, 4, collate_fn=collate, num_workers=1, multiprocessing_context=context)
    frames = torch.cat([batch.frames for batch in loader])
    assert (frames == collate(data.__getitems__(range(len(data)))).frames).all()


def test_a_pickle_is_the_name_of_the_folder(folder: Path) -> None:
    rollouts = Rollouts(folder)
    rollouts.column("actions")
    blob = pickle.dumps(rollouts)
    assert len(blob) < 500
    assert_array_equal(pickle.loads(blob).episode(5).frames, rollouts.episode(5).frames)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as error:
        Rollouts(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_files_that_differ_are_one_line(folder: Path) -> None:
    odd = folder / "9.h5"
    for episode, reason in (
        (make_episode(0, side=9), f"{odd}: frames: shape (9, 9, 3) a row, in 0.h5 shape (8, 8, 3) a row"),
        (make_episode(0, objects=3), f"{odd}: states/position: shape (3, 2) a row, in 0.h5 shape (2, 2) a row"),
        (make_episode(0, actions=False), f"{odd}: actions: none, in 0.h5 shape (2,) a row"),
        (dataclasses.replace(make_episode(0), truncated=np.zeros(5, bool)), f"{odd}: truncated: shape () a row"),
    ):  # fmt: skip
        write(odd, [episode])
        line = refusal(folder)
        assert line.startswith(reason)
        assert "must agree" in line
        assert "another folder" in line


def test_what_cannot_be_read_is_one_line_with_the_name_of_the_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").startswith(
        f"{tmp_path / 'empty'}: no rollout file (*.h5) in this folder"
    )
    bad, good = folder / "1.h5", (folder / "2.h5").read_bytes()
    bad.write_text("hello")
    assert refusal(folder).startswith(f"{bad}: not a rollout file")
    bad.write_bytes(good[: len(good) // 2])
    assert refusal(folder).startswith(f"{bad}: truncated or damaged")
    bad.write_bytes(good)
    with h5py.File(bad, "r+") as file:
        del file["episode_parts"]
    assert refusal(folder).startswith(f"{bad}: has no episode_parts")
    bad.write_bytes(good)
    with h5py.File(bad, "r+") as file:
        dataset(file, "episode_ends")[-1] += 1
    assert refusal(folder).startswith(
        f"{bad}: episode_ends must rise, from at least 1 to the number of frames, 21"
    )
    bad.write_bytes(good)
    with h5py.File(bad, "r+") as file:
        del file["episode_parts"]
        file["episode_parts"] = np.zeros(3, np.uint8)
    assert "one whole number an episode in both" in refusal(folder)


def test_more_files_than_may_be_open_are_one_line(tmp_path: Path) -> None:
    for i in range(20):
        write(tmp_path / f"{i:02}.h5", [make_episode(0)])
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = [int(name) for name in os.listdir("/proc/self/fd")]
    ten_more = next(n for n in itertools.count() if n - sum(number < n for number in used) == 10)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ten_more, limits[1]))
        line = refusal(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "too many open files; raise the limit" in line
    assert Rollouts(tmp_path).n_episodes == 20


def test_frames_that_are_not_there_are_an_error(folder: Path) -> None:
    rollouts = Rollouts(folder)
    for row in (-1, rollouts.n_frames):
        with pytest.raises(IndexError):
            rollouts.frames(np.array([0, row]))


def test_ranges_are_their_numbers_one_after_the_other() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        lengths = rng.integers(0, 4, 12)
        lengths[rng.integers(12)] = 3
        starts = np.cumsum(rng.integers(0, 2, 12) + np.append(0, lengths[:-1]))  # some touch
        numbers = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)])
        ranges, n = Ranges(starts, lengths), len(numbers)
        assert len(ranges) == n
        assert_array_equal(ranges[np.arange(-n, n)], numbers[np.arange(-n, n)])
        assert_array_equal(ranges[rng.integers(n, size=(3, 5))].shape, (3, 5))
        assert int(ranges[n - 1]) == numbers[-1]
        for index in (n, -n - 1):
            with pytest.raises(IndexError):
                ranges[[0, index]]


def test_the_index_grows_with_chunks_and_episodes_not_with_frames(tmp_path: Path) -> None:
    def held_bytes(n_frames: int) -> int:
        with RolloutWriter(tmp_path / "x.h5") as writer:
            for _ in range(4):
                writer.append(Episode(np.zeros((n_frames, 8, 8, 3), np.uint8)), "train")
        tracemalloc.start()
        data = ClipDataset(tmp_path / "x.h5", "train", 2)
        data.__getitems__([0, len(data) - 1])
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return held

    held_bytes(100)  # what Python keeps of a first call
    # 90,000 frames more: a number for each would be 720,000 bytes.
    assert held_bytes(25_000) < held_bytes(2_500) + 50_000


@pytest.fixture
def balls(balls_file: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "balls"
    folder.mkdir()
    for name in ("a.h5", "b.h5"):
        shutil.copyfile(balls_file, folder / name)
    return folder


def test_a_run_trains_on_a_folder_and_finds_it_again(tiny: Callable[..., TrainConfig], balls: Path) -> None:
    run = train(tiny(**{"data.path": balls, "steps": 2}))
    assert data_of(run) == balls
    assert Rollouts(data_of(run)).n_episodes == 24


def test_particles_are_encoded_again_when_one_file_has_changed(
    tiny: Callable[..., TrainConfig], balls: Path, tmp_path: Path
) -> None:
    cfg = tiny(**{"dynamics.kind": "graph"})
    model = VideoModel(VideoConfig(cfg.model, cfg.tracking, cfg.dynamics))
    cache = tmp_path / "particles"
    for _ in range(2):
        encode_part(model, Rollouts(balls), "test", cache)
    assert len(list(cache.iterdir())) == 1
    os.utime(balls / "b.h5", ns=(1, 1))
    encode_part(model, Rollouts(balls), "test", cache)
    assert len(list(cache.iterdir())) == 2
