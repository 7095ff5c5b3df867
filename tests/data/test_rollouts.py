import itertools
import pickle
import resource
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from dlp_dyn.clip import Clip
from dlp_dyn.data.clips import ClipDataset, collate
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Episode, RolloutWriter, dataset, split_episodes
from dlp_dyn.errors import InputError


def make_episode(number: int, length: int) -> Episode:
    """Frame t holds (number, t, 0); action t is (number, t)."""
    frames = np.zeros((length, 8, 8, 3), np.uint8)
    frames[..., 0] = number
    frames[..., 1] = np.arange(length)[:, None, None]
    actions = np.stack([np.full(length, number), np.arange(length)], -1).astype(np.float32)
    actions[-1] = 0
    ends = np.arange(length) == length - 2
    states = {
        "position": np.random.default_rng(number).normal(size=(length, 2, 2)),
        "visible": np.ones((length, 2), bool),
    }
    return Episode(frames, actions, np.arange(length) / 2, ends, ~ends & False, states)


def write(path, *episodes: Episode, **options) -> None:
    with RolloutWriter(path, **options) as writer:
        for episode in episodes:
            writer.append(episode)


LENGTHS = (5, 9, 2, 7, 30, 4, 6, 8, 3, 5)


@pytest.fixture
def path(tmp_path):
    episodes = (make_episode(number, length) for number, length in enumerate(LENGTHS))
    write(tmp_path / "data.h5", *episodes, seed=1, attributes={"env_id": "toy", "fps": 10.0})
    return tmp_path / "data.h5"


def test_round_trip(path):
    rollouts = Rollouts(path)
    assert rollouts.episode_lengths.tolist() == list(LENGTHS)
    assert rollouts.attributes["env_id"] == "toy"
    assert (rollouts.n_frames, rollouts.image_size, rollouts.action_dim) == (sum(LENGTHS), (8, 8), 2)
    for number, length in enumerate(LENGTHS):
        read, written = rollouts.episode(number).columns(), make_episode(number, length).columns()
        assert read.keys() == written.keys()
        for name in written:
            np.testing.assert_array_equal(read[name], written[name], strict=True)
    assert [p.name for p in path.parent.iterdir()] == ["data.h5"]


LAYOUTS = ({}, {"chunks": (3, 8, 8, 3)}, {"chunks": (3, 4, 8, 3)}, {"compression": "gzip"})


@pytest.mark.parametrize("options", LAYOUTS)
def test_frames_however_they_are_laid_out(path, options):
    expected = Rollouts(path).episode(4).frames
    with h5py.File(path, "r+") as file:
        frames = dataset(file, "frames")[:]
        del file["frames"]
        file.create_dataset("frames", data=frames, **options)
    np.testing.assert_array_equal(Rollouts(path).episode(4).frames, expected)


def test_parts_are_stored_disjoint_and_seeded(path):
    rollouts = Rollouts(path)
    parts = [rollouts.part(name).tolist() for name in ("train", "validation", "test")]
    assert sorted(itertools.chain(*parts)) == list(range(10))
    assert [len(part) for part in parts] == [8, 1, 1]
    np.testing.assert_array_equal(rollouts.episode_parts, split_episodes(10, (0.8, 0.1, 0.1), 1))
    splits = [split_episodes(100, (0.8, 0.1, 0.1), seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(splits[0], splits[1])
    assert (splits[0] != splits[2]).any()


@given(st.integers(3, 60), st.tuples(*[st.floats(0.01, 1)] * 3))
def test_no_part_is_empty(n, fractions):
    assert set(split_episodes(n, fractions, 0).tolist()) == {0, 1, 2}


@given(st.integers(1, 6), st.integers(1, 4))
def test_clips_are_all_that_fit(tmp_path_factory, clip_length, stride):
    path = tmp_path_factory.getbasetemp() / "clips.h5"
    if not path.exists():
        with RolloutWriter(path) as writer:
            for number, length in enumerate(LENGTHS):
                writer.append(make_episode(number, length), "train")
    data = ClipDataset(path, "train", clip_length, stride)
    span = (clip_length - 1) * stride + 1
    assert len(data) == sum(max(0, length - span + 1) for length in LENGTHS)
    clip = collate([data[i] for i in range(len(data))])
    assert clip.actions is not None
    number, time = clip.frames[:, :, 0, 0, 0].int(), clip.frames[:, :, 0, 0, 1].int()
    assert (number == number[:, :1]).all()
    assert (time == time[:, :1] + torch.arange(clip_length) * stride).all()
    actions = clip.actions.reshape(len(data), clip_length, stride, 2)
    step = time[..., None] + torch.arange(stride)
    inside = step < torch.tensor(LENGTHS)[number][..., None] - 1
    assert (actions[..., 1] == torch.where(inside, step, 0)).all()
    assert (actions[..., 0] == torch.where(inside, number[..., None], 0)).all()
    batch = collate(data.__getitems__(range(len(data))))
    assert (batch.frames == clip.frames).all()


@pytest.mark.parametrize("context", ["none", "fork"])
def test_loader(path, context):
    data = ClipDataset(path, "train", 3)
    workers = {} if context == "none" else {"num_workers": 2, "multiprocessing_context": context}
    batches = list(DataLoader(data, 4, collate_fn=collate, **workers))
    assert all(isinstance(batch, Clip) for batch in batches)
    frames = torch.cat([batch.frames for batch in batches])
    assert (frames == collate(data.__getitems__(range(len(data)))).frames).all()


def test_reader_survives_pickling(path):
    rollouts = Rollouts(path)
    rollouts.episode(0)
    blob = pickle.dumps(ClipDataset(rollouts, "train", 3))
    assert len(blob) < 5000  # the name of the file, not its contents
    np.testing.assert_array_equal(pickle.loads(blob).rollouts.episode(4).frames, rollouts.episode(4).frames)


def test_clip_reads_are_fast(tmp_path):
    with RolloutWriter(tmp_path / "big.h5") as writer:
        writer.append(Episode(np.zeros((4000, 64, 64, 3), np.uint8)), "train")
    loader = DataLoader(ClipDataset(tmp_path / "big.h5"), 32, shuffle=True, collate_fn=collate)
    start = time.perf_counter()
    n_images = sum(len(clip.frames) for clip in loader)
    assert n_images / (time.perf_counter() - start) > 5000


def one_line(error) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_unreadable_files_are_one_line(path, tmp_path):
    text, cut, version = tmp_path / "text.h5", tmp_path / "cut.h5", tmp_path / "version.h5"
    text.write_text("hello")
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    version.write_bytes(path.read_bytes())
    with h5py.File(version, "r+") as file:
        file.attrs["format_version"] = 99
    other = tmp_path / "other.h5"
    h5py.File(other, "w").close()
    no_frames = tmp_path / "no_frames.h5"
    no_frames.write_bytes(path.read_bytes())
    with h5py.File(no_frames, "r+") as file:
        del file["frames"]
    for bad, reason in (
        (tmp_path / "none.h5", "no such file"),
        (tmp_path / "none", "no such file"),
        (text, "not HDF5"),
        (cut, "truncated"),
        (version, "version 99"),
        (other, "version None"),
        (no_frames, "has no frames"),
    ):
        with pytest.raises(InputError, match=reason) as error:
            Rollouts(bad)
        assert str(bad) in one_line(error)


def test_clips_that_do_not_fit_are_one_line(path):
    with pytest.raises(InputError, match="longest episode of the train part has 9;") as error:
        ClipDataset(path, "train", 31)
    one_line(error)
    with pytest.raises(InputError, match="1 or more"):
        ClipDataset(path, "train", 0)
    write(path, make_episode(0, 3))
    with pytest.raises(InputError, match="no episode in the validation part"):
        ClipDataset(path, "validation")


def test_bad_episodes_are_one_line(path, tmp_path):
    before = path.read_bytes()
    good = make_episode(0, 4)
    bad = {
        "uint8": Episode(np.zeros((0, 8, 8, 3), np.uint8)),
        "rows of states/position": Episode(good.frames, states={"position": np.zeros((3, 1, 2))}),
        "all episodes of a file must agree": Episode(np.zeros((4, 9, 8, 3), np.uint8)),
    }
    for reason, episode in bad.items():
        with pytest.raises(InputError, match=reason) as error:
            write(path, Episode(good.frames), episode)
        one_line(error)
    with pytest.raises(InputError, match="no episode"):
        write(path)
    with pytest.raises(InputError, match="folder"):
        write(tmp_path, good)
    with pytest.raises(InputError, match="cannot be written"):
        write(path / "below" / "x.h5", good)
    with pytest.raises(InputError, match="three numbers"):
        write(path, good, fractions=(1, 2))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["data.h5"]


def test_part_is_given_for_all_or_none(tmp_path):
    writer = RolloutWriter(tmp_path / "x.h5")
    with pytest.raises(InputError, match="for some episodes"), writer:
        list(map(writer.append, [make_episode(0, 4)] * 2, ["train", None]))
    assert not list(tmp_path.iterdir())


def test_exception_leaves_the_earlier_file(path):
    before = path.read_bytes()

    def interrupted():
        yield make_episode(0, 4)
        raise KeyboardInterrupt

    writer = RolloutWriter(path)
    with pytest.raises(KeyboardInterrupt), writer:
        list(map(writer.append, interrupted()))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["data.h5"]


def test_a_killed_writer_leaves_no_file_but_room_to_the_next_one(tmp_path, capsys):
    script = (
        "import os, signal, sys, numpy as np\n"
        "from dlp_dyn.data.writer import Episode, RolloutWriter\n"
        "with RolloutWriter(sys.argv[1]) as writer:\n"
        "    writer.append(Episode(np.zeros((900, 64, 64, 3), np.uint8)))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "x.h5")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5.partial"]
    write(tmp_path / "x.h5", Episode(np.zeros((2, 8, 8, 3), np.uint8)))
    said = capsys.readouterr().err
    assert "x.h5.partial" in said
    assert "killed process left" in said
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


def test_two_writers_of_one_file_are_one_too_many(tmp_path):
    with RolloutWriter(tmp_path / "x.h5") as first:
        with pytest.raises(InputError, match="written by another process"), RolloutWriter(tmp_path / "x.h5"):
            pass
        first.append(Episode(np.zeros((2, 8, 8, 3), np.uint8)))
    assert [path.name for path in tmp_path.iterdir()] == ["x.h5"]


@pytest.mark.parametrize("limit", [1000, 2_000_000, 11_500_000])
def test_full_disk_is_one_line_and_keeps_the_earlier_file(path, limit):
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        with pytest.raises(InputError, match="disk is full") as error:
            write(path, *[Episode(np.zeros((100, 64, 64, 3), np.uint8))] * 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(path) in one_line(error)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["data.h5"]
