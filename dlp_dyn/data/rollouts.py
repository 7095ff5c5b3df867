"""Stores of rollouts, open for reading: episodes, frames in any order, ground truth."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from dlp_dyn.data.rollout_file import RolloutFile
from dlp_dyn.data.writer import FIRST_CAMERA, MASKS, PARTS, STATES, STEP_FIELDS, VIEWS, Episode, Part
from dlp_dyn.errors import InputError

_FINGERPRINTED = 64  # frames


class Rollouts:
    """A store of rollouts, open for reading: a rollout file, or a folder of them.

    The files of a folder (`*.h5`, in the order of their names) are read as if their episodes stood in one file, one
    after the other. Numbers of frames and episodes are those of the store.

    The frames stay on disk and are read from where they lie, so random clips cost a copy and nothing else,
    and the operating system keeps what fits in memory. Everything else is read on first use. Safe to hand to
    DataLoader workers, forked or spawned.

    attributes: those that have one value in all files.
    view: the camera that shows the frames, of `view_names` or by the name that the first one has; None: the first. Seen
    by another one than that, there are no further views and no ground truth, whose coordinates are the first one's.

    Raises InputError when a file is missing, damaged, not a rollout file or of another format version, when a folder
    has none, when the files of a folder differ in their arrays or the shape of a row, and for an unknown view.
    """

    def __init__(self, path: str | Path, view: str | None = None) -> None:
        self.path, self.view = Path(path), view
        paths = sorted(self.path.glob("*.h5")) if self.path.is_dir() else [self.path]
        if not paths:
            raise InputError(
                f"{self.path}: no rollout file (*.h5) in this folder; write one with `dlp-dyn collect` or "
                "`dlp-dyn import`, or give another folder"
            )
        self._files = [RolloutFile(file) for file in paths]
        _check_agreement(self._files)
        first = self._files[0]
        self.attributes: dict[str, Any] = {
            name: value
            for name, value in first.attributes.items()
            if all(file.attributes.get(name) == value for file in self._files)
        }
        self._row_shapes, self._camera = dict(first.row_shapes), "frames"
        if view is not None and view != self.attributes.get("camera", FIRST_CAMERA):
            self._camera = self._stored(view)
            self._row_shapes = {
                name: shape
                for name, shape in self._row_shapes.items()
                if not name.startswith((STATES, VIEWS))
            } | {"frames": self._row_shapes[self._camera]}
        lengths = np.array([file.n_frames for file in self._files])
        self._ends: Int[np.ndarray, " F"] = np.cumsum(lengths)
        self._starts: Int[np.ndarray, " F"] = self._ends - lengths
        ends = [
            start + file.column("episode_ends").astype(np.int64)
            for start, file in zip(self._starts, self._files, strict=True)
        ]
        # From the first frame of each episode to that of the next: starts and ends are views of it.
        self._bounds: Int[np.ndarray, " E+1"] = np.concatenate([[0], *ends])
        self.episode_parts: UInt8[np.ndarray, " E"] = np.concatenate(
            [file.column("episode_parts") for file in self._files]
        )
        self.episode_texts: tuple[str, ...] = sum((file.texts for file in self._files), ())
        self._columns: dict[str, np.ndarray] = {}

    def __reduce__(self) -> tuple[type["Rollouts"], tuple[Path, str | None]]:
        return type(self), (self.path, self.view)  # a worker process opens the files for itself

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(file.path for file in self._files)

    @property
    def n_episodes(self) -> int:
        return len(self._bounds) - 1

    @property
    def n_frames(self) -> int:
        return int(self._ends[-1])

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width, _ = self._row_shapes["frames"]
        return height, width

    @property
    def action_dim(self) -> int:
        return self._row_shapes.get("actions", (0,))[0]

    @property
    def has_actions(self) -> bool:
        return self.action_dim > 0

    @property
    def state_names(self) -> tuple[str, ...]:
        """Which ground truth there is, of the names that Episode lists."""
        return self._names(STATES)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Every array with a row a frame, as `column` takes them."""
        return tuple(self._row_shapes)

    @property
    def observation_names(self) -> tuple[str, ...]:
        """Which arrays of the environment's own observation there are."""
        return self._names("observations/")

    @property
    def view_names(self) -> tuple[str, ...]:
        """Which cameras there are beside the first."""
        return self._names(VIEWS)

    def _names(self, group: str) -> tuple[str, ...]:
        return tuple(sorted(name.removeprefix(group) for name in self._row_shapes if name.startswith(group)))

    @property
    def has_states(self) -> bool:
        return bool(self.state_names)

    @property
    def episode_starts(self) -> Int[np.ndarray, " E"]:
        return self._bounds[:-1]

    @property
    def episode_ends(self) -> Int[np.ndarray, " E"]:
        return self._bounds[1:]

    @cached_property
    def episode_lengths(self) -> Int[np.ndarray, " E"]:
        return np.diff(self._bounds)

    def fingerprint(self) -> str:
        """Tells these episodes from others, wherever they lie: made of bounds, parts, and frames spread evenly."""
        rows = np.linspace(0, self.n_frames - 1, min(self.n_frames, _FINGERPRINTED)).astype(np.int64)
        shapes = self._row_shapes | {"episode_ends": (), "episode_parts": ()}  # as runs have recorded it
        digest = hashlib.sha256(repr(sorted(shapes.items())).encode())
        for array in (self._bounds, self.episode_parts, self.frames(rows)):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def part(self, name: Part) -> Int[np.ndarray, " n"]:
        """Numbers of the episodes in a part."""
        if name not in PARTS:
            raise InputError(f"part {name!r}: use one of {', '.join(PARTS)}")
        return np.flatnonzero(self.episode_parts == PARTS.index(name))

    def some_of(self, name: Part, most: int | None = None) -> Int[np.ndarray, " n"]:
        """Numbers of the episodes in a part, of the first `most` ones. Raises InputError where there is none."""
        episodes = self.part(name)[:most]
        if not len(episodes):
            raise InputError(
                f"{self.path}: no episode in the {name} part; choose another part, or import in shorter episodes"
            )
        return episodes

    def episode(self, index: int) -> Episode:
        return self.read(int(self.episode_starts[index]), int(self.episode_lengths[index]))

    def read(self, start: int, length: int) -> Episode:
        """`length` frames from frame `start` of the store on, with actions and ground truth where known."""
        if start < 0 or length < 1 or start + length > self.n_frames:
            raise InputError(
                f"{self.path}: frames {start} to {start + length} asked for, there are {self.n_frames}"
            )
        numbers = np.arange(start, start + length)
        columns = {"frames": self.frames(numbers)}
        for name in self._row_shapes:
            if name in STEP_FIELDS or name.startswith("observations/"):
                columns[name] = self.column(name)[start : start + length]
        columns |= {f"{STATES}{name}": array for name, array in self.states_at(numbers).items()}
        columns |= {f"{VIEWS}{name}": self.frames(numbers, name) for name in self.view_names}
        return Episode.from_columns(columns)

    def states(self, start: int, length: int) -> dict[str, np.ndarray]:
        """Ground truth of `length` frames from `start` on (see Episode); empty where there is none."""
        return self.states_at(np.arange(start, start + length))

    def states_at(self, rows: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        """Ground truth of the frames with these numbers, which rise. Masks stay on disk, as frames do."""
        arrays = {name: f"{STATES}{name}" for name in self.state_names}
        return {
            k: self._masks(rows) if name == MASKS else self.column(name)[rows] for k, name in arrays.items()
        }

    def frames(self, rows: Int[np.ndarray, "*S"], view: str | None = None) -> UInt8[np.ndarray, "*S H W 3"]:
        """The frames with these numbers. IndexError for a number that no frame has.

        view: another camera than the first, of `view_names`; InputError for one that is not there.
        """
        name = self._camera if view is None else self._stored(view)
        flat = rows.ravel()
        if (flat < 0).any():
            raise IndexError("a number of a frame is negative")
        images = np.empty((flat.size, *self._files[0].row_shapes[name]), np.uint8)
        files = np.searchsorted(self._ends, flat, side="right")
        for number in np.unique(files):
            at = np.flatnonzero(files == number)
            self._files[number].read(name, flat[at] - self._starts[number], images, at)
        return images.reshape(*rows.shape, *images.shape[1:])

    def _stored(self, view: str) -> str:
        """The array of a camera beside the first. InputError where there is none of that name."""
        if view not in self.view_names:
            known = (self.attributes.get("camera", FIRST_CAMERA), *self.view_names)
            raise InputError(f"{self.path}: no view {view!r}; there are {', '.join(known)}")
        return f"{VIEWS}{view}"

    def _masks(self, rows: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n H W"]:
        files = np.searchsorted(self._ends, rows, side="right")
        return np.concatenate(
            [self._files[i].masks(rows[files == i] - self._starts[i]) for i in np.unique(files)]
        )

    def column(self, name: str) -> np.ndarray:
        """A whole array by its name in the files (`actions`, `states/position`, ...), kept in memory."""
        if name not in self._columns:
            self._columns[name] = np.concatenate([file.column(name) for file in self._files])
        return self._columns[name]


def _check_agreement(files: Sequence[RolloutFile]) -> None:
    first = files[0]
    for file in files[1:]:
        for name in sorted(first.row_shapes | file.row_shapes):
            here, there = (
                f"shape {f.row_shapes[name]} a row" if name in f.row_shapes else "none" for f in (file, first)
            )
            if here != there:
                raise InputError(
                    f"{file.path}: {name}: {here}, in {first.path.name} {there}; the files of a folder must agree: "
                    "write this one again likewise, or move it to another folder"
                )
