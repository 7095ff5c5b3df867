"""LeRobot data sets, v3.0: tables of many episodes, a film a camera beside each, and what `meta/` says of them."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import UInt8

from dlp_dyn.data.writer import VIEWS, Episode, Part
from dlp_dyn.data.writers.base import Append, Source, appearing
from dlp_dyn.data.writers.lerobot_stats import Stats
from dlp_dyn.errors import InputError

_FRAMES_A_FILE = 50_000
_FILES_A_CHUNK = 1000
_PLACE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_STEPS = {
    "actions": "action",
    "rewards": "next.reward",
    "terminated": "next.terminated",
    "truncated": "next.truncated",
}
_PANDAS = {
    "index_columns": ["task"],
    "column_indexes": [],
    "columns": [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": stored, "metadata": None}
        for name, kind, stored in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ],
    "pandas_version": "2.0.0",
}


@contextmanager
def write_lerobot(source: Source) -> Iterator[Append]:
    """A folder that `LeRobotDataset(..., root=OUT)` opens. Films are H.264 in full colour, nearly lossless.

    Rows hold `action`, `next.reward`, `next.terminated`, `next.truncated`, `next.done`, `observation.NAME` and
    `states.NAME`; the part of an episode stands with it in `meta/episodes`. An episode without a text has the task "".
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise InputError("writing LeRobot data sets needs pyarrow; pip install 'dlp_dyn[lerobot]'") from error
    with appearing(source.out) as folder:
        store = _Store(folder, source)
        try:
            yield store.append
            store.finish()
        finally:
            store.close()


class _Store:
    """A data set that grows episode by episode."""

    def __init__(self, folder: Path, source: Source) -> None:
        self.folder, self.source = folder, source
        self.rate = Fraction(source.fps).limit_denominator(1001)
        self.stats = Stats()
        self.features: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, int] = {}
        self.episodes: list[dict[str, Any]] = []
        self.n_frames, self.file, self.in_file = 0, 0, 0
        self._table: Any = None
        self._films: dict[str, _Film] = {}

    def append(self, episode: Episode, part: Part, text: str) -> None:
        if self.in_file + len(episode) > _FRAMES_A_FILE and self.in_file:
            self.close()
            self.file, self.in_file = self.file + 1, 0
        cameras, columns = self._split(episode)
        n, task = len(episode), self.tasks.setdefault(text, len(self.tasks))
        columns |= {
            "timestamp": (np.arange(n) / float(self.rate)).astype(np.float32),
            "frame_index": np.arange(n),
            "episode_index": np.full(n, len(self.episodes)),
            "index": np.arange(self.n_frames, self.n_frames + n),
            "task_index": np.full(n, task),
        }
        for key, values in columns.items():
            shape = [*values.shape[1:]] or [1]
            kind = "image" if key == "states.masks" else str(values.dtype)
            shape = [*shape, 1] if kind == "image" else shape
            self.features.setdefault(key, {"dtype": kind, "shape": shape, "names": None})
        self._write_rows(columns)
        place = {"chunk_index": self.file // _FILES_A_CHUNK, "file_index": self.file % _FILES_A_CHUNK}
        row: dict[str, Any] = {
            "episode_index": len(self.episodes), "tasks": [text], "length": n, "part": part,
            "dataset_from_index": self.n_frames, "dataset_to_index": self.n_frames + n,
            **{f"data/{key}": value for key, value in place.items()},
            "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0,
        }  # fmt: skip
        start, end = (float(t / self.rate) for t in (self.in_file, self.in_file + n))
        for key, frames in cameras.items():
            self._write_frames(key, frames)
            seconds = {"from_timestamp": start, "to_timestamp": end}
            row |= {f"videos/{key}/{name}": value for name, value in {**place, **seconds}.items()}
        self.stats.add({**columns, **cameras})
        self.episodes.append(row)
        self.n_frames += n
        self.in_file += n

    def _split(self, episode: Episode) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Frames by camera, and rows, by their names in LeRobot."""
        cameras, rows = {}, {}
        for name, values in episode.columns().items():
            if name == "frames" or name.startswith(VIEWS):
                camera = self.source.camera if name == "frames" else name.removeprefix(VIEWS)
                cameras[f"observation.images.{camera}"] = values
            elif name.startswith("observations/"):
                rows[f"observation.{name.removeprefix('observations/')}"] = values
            else:
                rows[_STEPS.get(name, name.replace("/", "."))] = values
        ends = [values for values in (episode.terminated, episode.truncated) if values is not None]
        if ends:
            rows["next.done"] = np.logical_or.reduce(ends)
        return cameras, rows

    def _write_rows(self, columns: Mapping[str, np.ndarray]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        arrays = {
            key: _pictures(values) if key == "states.masks" else _nested(values)
            for key, values in columns.items()
        }
        table = pa.table(arrays)
        if self._table is None:
            path = self._path("data", "parquet")
            self._table = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._table.write_table(table)

    def _write_frames(self, key: str, frames: UInt8[np.ndarray, "T H W 3"]) -> None:
        if key not in self._films:
            self._films[key] = _Film(self._path(f"videos/{key}", "mp4"), frames.shape[1:3], self.rate)
            height, width = frames.shape[1:3]
            about = {
                "video.height": height, "video.width": width, "video.codec": "h264", "video.pix_fmt": "yuv444p",
                "video.is_depth_map": False, "video.fps": _plain(self.rate), "video.channels": 3, "has_audio": False,
            }  # fmt: skip
            self.features[key] = {
                "dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channels"],
                "info": about,
            }  # fmt: skip
        self._films[key].append(frames)

    def _path(self, folder: str, suffix: str) -> Path:
        place = _PLACE.format(chunk_index=self.file // _FILES_A_CHUNK, file_index=self.file % _FILES_A_CHUNK)
        path = self.folder / folder / f"{place}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Ends the table and the films that are open."""
        for open_file in (self._table, *self._films.values()):
            if open_file is not None:
                open_file.close()
        self._table, self._films = None, {}

    def finish(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        meta = self.folder / "meta"
        place = meta / "episodes" / f"{_PLACE.format(chunk_index=0, file_index=0)}.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self.episodes), place)
        tasks = pa.table({"task_index": list(self.tasks.values()), "task": list(self.tasks)})
        # LeRobot looks texts up in the index of the data frame that pandas makes of it.
        pq.write_table(tasks.replace_schema_metadata({"pandas": json.dumps(_PANDAS)}), meta / "tasks.parquet")
        info = {
            "codebase_version": "v3.0", "robot_type": None, "fps": _plain(self.rate),
            "total_episodes": len(self.episodes), "total_frames": self.n_frames, "total_tasks": len(self.tasks),
            "chunks_size": _FILES_A_CHUNK, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200,
            "splits": {"train": f"0:{len(self.episodes)}"},
            "data_path": f"data/{_PLACE}.parquet", "video_path": f"videos/{{video_key}}/{_PLACE}.mp4",
            "features": self.features,
        }  # fmt: skip
        (meta / "info.json").write_text(json.dumps(info, indent=4))
        (meta / "stats.json").write_text(json.dumps(self.stats.summary(), indent=4))


class _Film:
    """A film of several episodes, every second frame whole, so that any can be found fast."""

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction) -> None:
        self._container = av.open(str(path), "w")
        stream = self._container.add_stream("libx264", rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv444p"
        stream.options = {"crf": "10", "g": "2", "bf": "0"}
        self._stream = stream

    def append(self, frames: UInt8[np.ndarray, "T H W 3"]) -> None:
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()


def _nested(values: np.ndarray) -> Any:
    """(T,) or (T, 1) as a column of numbers, (T, K) of lists of K, and so on."""
    import pyarrow as pa

    column = pa.array(values.reshape(-1))
    for length in reversed(values.shape[1:] if values.shape[1:] != (1,) else ()):
        column = pa.FixedSizeListArray.from_arrays(column, length)
    return column


def _pictures(masks: UInt8[np.ndarray, "T H W"]) -> Any:
    import pyarrow as pa
    from PIL import Image

    cells = []
    for mask in masks:
        stream = io.BytesIO()
        Image.fromarray(mask).save(stream, "png")
        cells.append({"bytes": stream.getvalue(), "path": None})
    return pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def _plain(rate: Fraction) -> int | float:
    return int(rate) if rate.denominator == 1 else float(rate)
