"""LeRobot data sets, v2.0 to v3.0: Parquet and MP4 -> episodes. The layout is that of their `meta/info.json`."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dlp_dyn.data.readers.base import Choices, EpisodeStream, Frames, without_truth
from dlp_dyn.data.readers.film_cuts import FilmCuts
from dlp_dyn.data.readers.folders import SPLITS
from dlp_dyn.data.readers.steps import as_steps
from dlp_dyn.data.writer import Part, one_line
from dlp_dyn.errors import InputError
from dlp_dyn.settings import parse_json

_STEPS = {
    "actions": ("action",),
    "rewards": ("next.reward", "reward"),
    "terminated": ("next.terminated", "next.done"),
    "truncated": ("next.truncated",),
}
_BOOKKEEPING = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
_GROUPS = {"observation.": "observations/", "states.": "states/"}


@dataclass(frozen=True)
class _Found:
    """What `meta/` says of an episode. films: of each camera, the file and the second at which the episode begins."""

    number: int
    length: int
    text: str
    part: Part | None
    table: Path
    films: Mapping[str, tuple[Path, float]]


@dataclass(frozen=True)
class LeRobotReader:
    """One table and one film a camera open at a time, read from front to back. cameras: the first shows `frames`."""

    root: Path
    info: Mapping[str, Any]
    cameras: Mapping[str, str]
    episodes: Sequence[_Found]
    n_actions: int | None
    layout: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[EpisodeStream]:
        cuts = {key: FilmCuts() for key in self.cameras.values()}
        path: Path | None = None
        table: Any = None
        for found in self.episodes:
            if found.table != path:
                with _reading(found.table):
                    path, table = found.table, _parquet().read_table(found.table)
            with _reading(found.table):
                yield self._stream(found, self._rows(table, found), cuts)

    def _rows(self, table: Any, found: _Found) -> Any:
        import pyarrow.compute as pc

        rows = table.filter(pc.field("episode_index") == found.number).sort_by("frame_index")
        if len(rows) != found.length:
            raise InputError(
                f"{found.table}: {len(rows)} rows of episode {found.number}, meta/ says {found.length}; "
                "download the data set again"
            )
        return rows

    def _stream(self, found: _Found, rows: Any, cuts: Mapping[str, FilmCuts]) -> EpisodeStream:
        name = f"{self.root}, episode {found.number}"

        def images(key: str) -> Frames:
            if key in found.films:
                path, start = found.films[key]
                return cuts[key].frames(path, start, found.length, name)
            return _pictures(rows[key], f"{name}, {key}")

        keys = list(self.cameras.values())
        features = self.info["features"]
        steps = {}
        for column, names in _STEPS.items():
            key = next((key for key in names if key in features), None)
            if key is not None:
                steps[column] = _numbers(rows[key], features[key])
        if self.n_actions is not None:
            steps["actions"] = np.eye(self.n_actions, dtype=np.float32)[steps["actions"].reshape(-1)]
        columns = {to: _numbers(rows[key], features[key]) for key, to in _others(features).items()}
        is_first = keys[0] == next(iter(_cameras(features)[0].values()))
        has_masks = is_first and "states.masks" in features
        return EpisodeStream(
            lambda: images(keys[0]), found.part, as_steps(steps, found.length, name),
            fps=lambda: float(self.info["fps"]),
            columns=columns if is_first else without_truth(columns),
            views={camera: lambda key=key: images(key) for camera, key in list(self.cameras.items())[1:]},
            masks=(lambda: images("states.masks")) if has_masks else None,
            text=found.text,
        )  # fmt: skip


def open_lerobot(root: Path, choices: Choices) -> LeRobotReader:
    """A data set by its folder. InputError where it is damaged, of another version, or has no camera of that name."""
    _parquet()
    with _reading(root / "meta" / "info.json"):
        info = parse_json((root / "meta" / "info.json").read_text())
        version, features = str(info["codebase_version"]), info["features"]
        if not version.startswith(("v2.", "v3.")):
            raise InputError(
                f"{root}: LeRobot {version}; v2.0 to v3.0 are read: convert it with LeRobot's tools"
            )
        all_cameras, depth = _cameras(features)
        episodes = _of_v3(root, info) if version.startswith("v3.") else _of_v2(root, info)
    cameras = _chosen(all_cameras, choices.camera, root)
    if not episodes:
        raise InputError(f"{root}: a LeRobot data set without episodes; record some")
    kept = {*_BOOKKEEPING, *all_cameras.values(), *_others(features), "states.masks"}
    kept |= {key for names in _STEPS.values() for key in names}
    left_out = [key for key in features if key not in kept] + depth
    texts = {found.text for found in episodes if found.text}
    layout = (
        f"{root}: a LeRobot {version} data set of {len(episodes)} episodes, {len(texts)} tasks, seen by "
        f"{', '.join(cameras)}" + (f"\nleft out: {', '.join(left_out)}" if left_out else "")
    )
    attributes = {"camera": next(iter(cameras))}
    return LeRobotReader(root, info, cameras, episodes, _n_actions(root, features), layout, attributes)


def _cameras(features: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Features by the names of cameras, and those that hold depth."""
    found, depth = {}, []
    for key, feature in features.items():
        if feature["dtype"] not in ("video", "image") or key == "states.masks":
            continue
        about = {**feature.get("info", {}), **feature.get("video_info", {})}
        if about.get("video.is_depth_map"):
            depth.append(key)
        else:
            name = key.removeprefix("observation.images.").removeprefix("observation.")
            found[name.replace("/", ".")] = key
    return found, depth


def _chosen(cameras: Mapping[str, str], camera: str | None, root: Path) -> Mapping[str, str]:
    if not cameras:
        raise InputError(f"{root}: a LeRobot data set without cameras; use another one")
    if camera is None:
        return cameras
    for name, key in cameras.items():
        if camera in (name, key):
            return {name: key}
    raise InputError(f"{root}: no camera {camera!r}; there are {', '.join(cameras)}")


def _others(features: Mapping[str, Any]) -> dict[str, str]:
    """What else is known in each frame, and its name in a rollout file."""
    return {
        key: group + key.removeprefix(prefix).replace("/", ".")
        for key, feature in features.items()
        for prefix, group in _GROUPS.items()
        if key.startswith(prefix) and np.dtype(_dtype(feature)).kind in "fiub"
    }


def _dtype(feature: Mapping[str, Any]) -> str:
    return "object" if feature["dtype"] in ("video", "image", "string", "language") else feature["dtype"]


def _n_actions(root: Path, features: Mapping[str, Any]) -> int | None:
    """How many there are where an action is one whole number."""
    feature = features.get("action")
    if feature is None or np.dtype(_dtype(feature)).kind not in "iu" or int(np.prod(feature["shape"])) != 1:
        return None
    with _reading(root / "meta" / "stats.json"):
        return int(np.max(parse_json((root / "meta" / "stats.json").read_text())["action"]["max"])) + 1


def _of_v3(root: Path, info: Mapping[str, Any]) -> list[_Found]:
    episodes = []
    for path in sorted((root / "meta" / "episodes").glob("*/*.parquet")):
        with _reading(path):
            names = _parquet().read_schema(path).names
            rows = _parquet().read_table(path, columns=[n for n in names if not n.startswith("stats/")])
            episodes += rows.to_pylist()
    parts = _parts(info)

    def film(row: Mapping[str, Any], key: str) -> tuple[Path, float]:
        place = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
        return _inside(root, info["video_path"], video_key=key, **place), row[f"videos/{key}/from_timestamp"]

    return [
        _Found(
            row["episode_index"], row["length"], "; ".join(row["tasks"]),
            SPLITS[row["part"]] if row.get("part") in SPLITS else parts.get(row["episode_index"]),
            _inside(
                root, info["data_path"], chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
            ),
            {key: film(row, key) for key, feature in info["features"].items() if feature["dtype"] == "video"},
        )
        for row in sorted(episodes, key=lambda row: row["episode_index"])
    ]  # fmt: skip


def _of_v2(root: Path, info: Mapping[str, Any]) -> list[_Found]:
    """A table and a film a camera for each episode."""
    with _reading(root / "meta" / "episodes.jsonl"):
        lines = (root / "meta" / "episodes.jsonl").read_text().splitlines()
        episodes = [parse_json(line) for line in lines if line.strip()]
    parts = _parts(info)
    found = []
    for row in sorted(episodes, key=lambda row: row["episode_index"]):
        number = row["episode_index"]
        place = {"episode_index": number, "episode_chunk": number // info["chunks_size"]}
        films = {
            key: (_inside(root, info["video_path"], video_key=key, **place), 0.0)
            for key, feature in info["features"].items()
            if feature["dtype"] == "video"
        }
        table = _inside(root, info["data_path"], **place)
        found.append(_Found(number, row["length"], "; ".join(row["tasks"]), parts.get(number), table, films))
    return found


def _parts(info: Mapping[str, Any]) -> dict[int, Part]:
    """Of each episode, where there are several: `{"train": "0:40", "test": "40:50"}`."""
    splits = {name: str(span).split(":") for name, span in info.get("splits", {}).items()}
    if len(splits) < 2 or not all(name.lower() in SPLITS for name in splits):
        return {}
    return {
        i: SPLITS[name.lower()] for name, (start, end) in splits.items() for i in range(int(start), int(end))
    }


def _inside(root: Path, pattern: str, **values: Any) -> Path:
    path = root / pattern.format(**values)
    if ".." in path.parts or not path.is_relative_to(root):
        raise InputError(f"{root}: meta/info.json leads to {path}, outside of the data set; repair it")
    return path


def _numbers(column: Any, feature: Mapping[str, Any]) -> np.ndarray:
    """A column of scalars or of lists, whatever they are nested in, as (T, ...)."""
    import pyarrow as pa

    shape, values = tuple(feature["shape"]), column.combine_chunks()
    while pa.types.is_nested(values.type):
        values = values.flatten()
    numbers = values.to_numpy(zero_copy_only=False)
    return numbers.reshape(len(column), *shape).astype(_dtype(feature), copy=False)


def _pictures(column: Any, name: str) -> Frames:
    for i, cell in enumerate(column):
        with Image.open(io.BytesIO(cell.as_py()["bytes"])) as picture:
            yield f"{name}, frame {i}", np.asarray(picture)


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("LeRobot data sets need pyarrow; pip install 'dlp_dyn[lerobot]'") from error
    return pyarrow.parquet


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """InputError with the name of the file for whatever is wrong with it. Arrow's errors are OSError or ValueError."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f"{path}: missing, damaged, or not as LeRobot writes it ({type(error).__name__}: "
            f"{one_line(error)[:120]}); download the data set again"
        ) from error
