"""What is exported to other tools comes back as it was: frames, order, actions, ends, texts, and what else is known."""

from pathlib import Path

import numpy as np
import pytest

from dlp_dyn.data.convert import convert
from dlp_dyn.data.export import export_data
from dlp_dyn.data.readers import Choices
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Episode, Part, RolloutWriter
from dlp_dyn.data.writers.base import appearing
from dlp_dyn.errors import InputError

LENGTHS = (5, 2, 7)
TEXTS = ("lift the cube", "close the drawer", "lift the cube")
PARTS: tuple[Part, ...] = ("train", "test", "validation")
OUT = {"lerobot": "robot", "minari": "minari-v0", "worldmodel": "world.h5"}
NEEDS = {"lerobot": "pyarrow", "minari": "minari", "worldmodel": "h5py"}
WITHIN = {"lerobot": (16, 1.0), "minari": (0, 0.0), "worldmodel": (0, 0.0)}  # of 255, the worst and the mean


def episode(rng: np.random.Generator, length: int) -> Episode:
    """Smooth frames, as films keep them, that no two moments share."""
    places = rng.uniform(6, 26, (length, 2))
    grid = np.stack(np.meshgrid(np.arange(32), np.arange(32)), -1)
    distance = np.linalg.norm(grid - places[:, None, None], axis=-1)[..., None]
    frames = (255 * np.exp(-((distance / 8) ** 2)) * np.array([1, 0.5, 0.2])).astype(np.uint8)
    ends = np.arange(length) == length - 2
    return Episode(
        frames,
        rng.normal(size=(length, 2)).astype(np.float32) * (np.arange(length) < length - 1)[:, None],
        np.where(np.arange(length) < length - 1, rng.normal(size=length), 0),
        ends & (length > 5),
        ends & (length <= 5),
        {"position": rng.normal(size=(length, 3, 2)), "masks": frames[..., 0] // 64},
        {"state": rng.normal(size=(length, 4)), "height": rng.normal(size=(length, 1))},
        {"wrist": 255 - frames[:, :16, :24]},
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "rollouts.h5"
    rng = np.random.default_rng(0)
    with RolloutWriter(path, attributes={"fps": 12.5, "camera": "top"}) as writer:
        for length, text, part in zip(LENGTHS, TEXTS, PARTS, strict=True):
            writer.append(episode(rng, length), part, text=text)
    return path


@pytest.mark.parametrize("name", OUT)
def test_a_round_trip_changes_nothing(written: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip(NEEDS[name])
    export_data(written, tmp_path / OUT[name], name)
    convert(tmp_path / OUT[name], tmp_path / "back.h5")
    before, after = Rollouts(written), Rollouts(tmp_path / "back.h5")
    assert after.episode_texts == TEXTS
    np.testing.assert_array_equal(after.episode_parts, before.episode_parts)
    np.testing.assert_array_equal(after.episode_ends, np.cumsum(LENGTHS))
    assert after.column_names == before.column_names
    for number in range(len(LENGTHS)):
        old, new = before.episode(number).columns(), after.episode(number).columns()
        for column, values in old.items():
            images = column == "frames" or column.startswith("views/")
            worst, mean = WITHIN[name] if images else (1e-6, 1e-6)
            difference = np.abs(new[column].astype(float) - values)
            assert difference.max() <= worst, column
            assert difference.mean() <= mean, column


@pytest.mark.parametrize("name", OUT)
def test_one_camera_of_several(written: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip(NEEDS[name])
    export_data(written, tmp_path / OUT[name], name)
    convert(tmp_path / OUT[name], tmp_path / "back.h5", choices=Choices(camera="wrist"))
    after = Rollouts(tmp_path / "back.h5")
    assert (after.image_size, after.view_names) == ((16, 24), ())
    with pytest.raises(InputError, match="no camera 'left'; there are"):
        convert(tmp_path / OUT[name], tmp_path / "none.h5", choices=Choices(camera="left"))


def test_particles_go_along(written: Path, tmp_path: Path) -> None:
    def brightness(frames: np.ndarray) -> np.ndarray:
        return np.broadcast_to(frames.mean((1, 2, 3))[:, None, None], (len(frames), 3, 2)).astype(np.float32)

    export_data(written, tmp_path / "world.h5", "worldmodel", particles=brightness)
    convert(tmp_path / "world.h5", tmp_path / "back.h5")
    expected = brightness(Rollouts(written).frames(np.arange(sum(LENGTHS))))
    np.testing.assert_allclose(
        Rollouts(tmp_path / "back.h5").column("observations/particles"), expected, rtol=1e-6
    )


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("minari")
    with RolloutWriter(tmp_path / "a.h5") as writer:
        writer.append(Episode(np.zeros((2, 16, 16, 3), np.uint8)))
    with pytest.raises(InputError, match="Minari keeps steps"):
        export_data(tmp_path / "a.h5", tmp_path / "out", "minari")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    with pytest.raises(InputError, match="which is not replaced"):
        export_data(tmp_path / "a.h5", tmp_path, "worldmodel")
    with pytest.raises(InputError, match="use one of lerobot, minari, worldmodel"):
        export_data(tmp_path / "a.h5", tmp_path / "out", "zarr")


def test_lance_tables_are_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "world.lance").mkdir()
    with pytest.raises(InputError, match=r"not read; .* convert\(.*world.lance.*world.h5"):
        convert(tmp_path / "world.lance", tmp_path / "back.h5")


def test_films_of_several_episodes_are_cut_and_files_follow_one_another(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("dlp_dyn.data.writers.lerobot._FRAMES_A_FILE", 8)
    export_data(written, tmp_path / "robot", "lerobot")
    films = sorted(
        path.name for path in (tmp_path / "robot/videos/observation.images.top/chunk-000").iterdir()
    )
    assert films == ["file-000.mp4", "file-001.mp4"]
    convert(tmp_path / "robot", tmp_path / "back.h5")
    rows = np.arange(sum(LENGTHS))
    before, after = (Rollouts(path).frames(rows).astype(int) for path in (written, tmp_path / "back.h5"))
    assert np.abs(before - after).max() <= WITHIN["lerobot"][0]


def test_a_file_for_each_episode_as_in_version_2(written: Path, tmp_path: Path) -> None:
    """Laid out here as LeRobot v2.1 does, from tables and films of v3.0 data sets of one episode each."""
    pytest.importorskip("pyarrow")
    import json
    import shutil

    import pyarrow as pa
    import pyarrow.parquet as pq

    robot, camera = tmp_path / "robot", "observation.images.top"
    for folder in ("meta", "data/chunk-000", f"videos/chunk-000/{camera}"):
        (robot / folder).mkdir(parents=True)
    lines, before = [], Rollouts(written)
    for number in range(3):
        one = tmp_path / f"one{number}.h5"
        with RolloutWriter(one, attributes={"fps": 12.5, "camera": "top"}) as writer:
            kept = before.episode(number)
            writer.append(Episode(kept.frames, kept.actions), text=TEXTS[number])
        export_data(one, tmp_path / "v3", "lerobot")
        table = pq.read_table(tmp_path / "v3/data/chunk-000/file-000.parquet")
        at = table.column_names.index("episode_index")
        table = table.set_column(at, "episode_index", pa.array([number] * len(table)))
        pq.write_table(table, robot / f"data/chunk-000/episode_{number:06d}.parquet")
        film = tmp_path / f"v3/videos/{camera}/chunk-000/file-000.mp4"
        shutil.move(film, robot / f"videos/chunk-000/{camera}/episode_{number:06d}.mp4")
        lines.append({"episode_index": number, "tasks": [TEXTS[number]], "length": len(table)})
    info = json.loads((tmp_path / "v3/meta/info.json").read_text()) | {
        "codebase_version": "v2.1",
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (robot / "meta/info.json").write_text(json.dumps(info))
    (robot / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    convert(robot, tmp_path / "back.h5")
    after = Rollouts(tmp_path / "back.h5")
    assert (after.episode_texts, after.episode_lengths.tolist()) == (TEXTS, list(LENGTHS))
    np.testing.assert_array_equal(after.column("actions"), before.column("actions"))
    rows = np.arange(sum(LENGTHS))
    assert np.abs(after.frames(rows).astype(int) - before.frames(rows)).max() <= WITHIN["lerobot"][0]
    (robot / "data/chunk-000/episode_000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"episode_000001.*missing, damaged"):
        convert(robot, tmp_path / "back.h5")


def _place_of(out: Path, kind: str) -> Path:
    return out if kind == "file" else out / "meta" / "info.json"


def _fill(out: Path, kind: str, text: str) -> None:
    _place_of(out, kind).parent.mkdir(parents=True, exist_ok=True)
    _place_of(out, kind).write_text(text)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_was_there_stays_until_all_is_written(tmp_path: Path, kind: str) -> None:
    """After an error, after a kill between the two renames, and where two write; nothing is left beside it."""
    out = tmp_path / "out"
    with appearing(out) as place:
        _fill(place, kind, "first")
        with pytest.raises(InputError, match="in use"), appearing(out):
            pass
    assert _place_of(out, kind).read_text() == "first"
    (tmp_path / ".out.export").mkdir()
    out.rename(tmp_path / ".out.export" / "old")
    with pytest.raises(KeyError), appearing(out):
        raise KeyError
    assert _place_of(out, kind).read_text() == "first"
    with appearing(out) as place:
        _fill(place, kind, "second")
    assert _place_of(out, kind).read_text() == "second"
    assert list(tmp_path.iterdir()) == [out]
