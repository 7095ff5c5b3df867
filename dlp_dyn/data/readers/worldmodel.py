"""stable-worldmodel's HDF5 files -> episodes: flat columns, and where each episode stands in them.

Row t holds what is seen at frame t, the action that leads from it, and the reward and end that led to it.
"""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from dlp_dyn.data.readers.base import Choices, EpisodeStream, Frames, without_truth
from dlp_dyn.data.readers.columns import Column, reading, whole
from dlp_dyn.data.readers.steps import as_steps, one_hot
from dlp_dyn.data.writer import FIRST_CAMERA, MASKS, PARTS, Part
from dlp_dyn.errors import InputError

_BOUNDS = {"ep_len", "ep_offset"}
_ARRIVING = {"reward": "rewards", "terminated": "terminated", "truncated": "truncated"}
_BOOKKEEPING = {"action", "task", "step_idx", "id", "render_time", "goal", *_BOUNDS, *_ARRIVING}


def is_worldmodel(columns: Mapping[str, Column]) -> bool:
    return columns.keys() >= {"pixels", *_BOUNDS}


def worldmodel_episodes(
    path: Path, columns: Mapping[str, Column], part: Part | None, choices: Choices
) -> list[EpisodeStream]:
    """The episodes of a file: `pixels` or the chosen view as frames, other `pixels_NAME` as views.

    Numbers beside them become `observations/NAME`, `states.NAME` ground truth. InputError that names the file for rows
    that do not fit.
    """
    lengths, starts = (whole(path, name, columns[name]).astype(int) for name in ("ep_len", "ep_offset"))
    n = columns["pixels"].shape[0]
    if (
        len(lengths) != len(starts)
        or (lengths < 1).any()
        or (starts < 0).any()
        or (starts + lengths > n).any()
    ):
        raise InputError(f"{path}: ep_len and ep_offset lead outside of the {n} rows; write the file again")
    cameras = _cameras(path, columns, choices.camera)
    others = _others(path, columns)
    masks = columns.get("states.masks")
    if choices.camera not in (None, FIRST_CAMERA):
        others, masks = without_truth(others), None
    actions = _actions(path, columns, starts + lengths - 1)
    arriving = {to: whole(path, name, columns[name]) for name, to in _ARRIVING.items() if name in columns}
    texts, parts = _said(path, starts, len(lengths), part)
    episodes = []
    for i, (start, end) in enumerate(zip(starts.tolist(), (starts + lengths).tolist(), strict=True)):
        steps = {name: values[start + 1 : end] for name, values in arriving.items()}
        if actions is not None:
            steps["actions"] = actions[start:end]
        views = {
            name: lambda column=column, name=name, at=(i, start, end): _frames(path, name, column, *at)
            for name, column in cameras.items()
        }
        first = next(iter(views))
        episodes.append(
            EpisodeStream(
                views.pop(first), parts[i], as_steps(steps, end - start, str(path)),
                columns={name: values[start:end] for name, values in others.items()},
                views=views,
                masks=None if masks is None
                else lambda masks=masks, at=(i, start, end): _frames(path, "masks", masks, *at),
                text=texts[i],
            )
        )  # fmt: skip
    return episodes


def _cameras(path: Path, columns: Mapping[str, Column], camera: str | None) -> dict[str, Column]:
    """The first is `pixels`."""
    found = {
        FIRST_CAMERA if name == "pixels" else name.removeprefix("pixels_"): column
        for name, column in sorted(columns.items())
        if (name == "pixels" or name.startswith("pixels_")) and len(column.shape) == 4
    }
    if camera is None:
        return found
    if camera not in found:
        raise InputError(f"{path}: no camera {camera!r}; there are {', '.join(found)}")
    return {camera: found[camera]}


def _others(path: Path, columns: Mapping[str, Column]) -> dict[str, np.ndarray]:
    n = columns["pixels"].shape[0]
    return {
        name.replace(".", "/", 1) if name.startswith("states.") else f"observations/{name}": whole(path, name, column)
        for name, column in columns.items()
        if name not in _BOOKKEEPING and not name.startswith(("pixels", "goal_")) and "/" not in name
        and name.replace(".", "/") != MASKS
        and column.shape[0] == n and column.dtype.kind in "fiub"
    }  # fmt: skip


def _actions(path: Path, columns: Mapping[str, Column], last: np.ndarray) -> np.ndarray | None:
    """Those of the last rows lead nowhere, and may hold anything."""
    if "action" not in columns:
        return None
    actions = whole(path, "action", columns["action"])
    actions[last] = 0
    return one_hot(actions, f"{path}: action")


def _said(path: Path, starts: np.ndarray, n: int, part: Part | None) -> tuple[list[str], list[Part | None]]:
    """The texts and parts of episodes, where the file says them."""
    with reading(path), h5py.File(path) as file:
        texts, lengths = [""] * n, file["ep_len"]
        if isinstance(task := file.get("task"), h5py.Dataset) and h5py.check_string_dtype(task.dtype):
            texts = [str(task.asstr(errors="replace")[start]) for start in starts.tolist()]
        said = [str(name) for name in lengths.attrs.get("part", ())]
    known: dict[str, Part] = {name: name for name in PARTS}
    parts: list[Part | None] = [known.get(name) for name in said]
    return texts, parts if part is None and len(parts) == n and None not in parts else [part] * n


def _frames(path: Path, name: str, column: Column, episode: int, start: int, end: int) -> Frames:
    rows = enumerate(column.rows(start, end))
    return ((f"{path}, episode {episode}, {name}, frame {t}", frame) for t, frame in rows)
