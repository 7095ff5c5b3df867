"""Arrays of frames and steps as NumPy users, D4RL and robomimic keep them -> episodes."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool, Int, Shaped

from dlp_dyn.data.readers.base import Choices, EpisodeStream, Frames, in_order
from dlp_dyn.data.readers.columns import Column, open_columns, reading, select, whole
from dlp_dyn.data.readers.steps import as_steps, one_hot
from dlp_dyn.data.readers.worldmodel import is_worldmodel, worldmodel_episodes
from dlp_dyn.data.writer import PARTS, Part
from dlp_dyn.errors import InputError

HDF5 = {".h5", ".hdf5", ".hdf"}
ARRAYS = {".npy", ".npz", *HDF5}
FRAME_KEYS = (
    "frames", "images", "imgs", "observations", "obs", "pixels", "video", "image", "rgb",
)  # fmt: skip
_LEAST_SIDE = 8  # smaller arrays are positions or velocities
STEP_KEYS = {
    "actions": ("actions", "action"),
    "rewards": ("rewards", "reward"),
    "terminated": ("terminated", "terminations", "terminals", "dones", "done", "is_terminal"),
    "truncated": ("truncated", "truncations", "timeouts"),
}
_LAST = ("is_last", "dones_float")  # of rows that end an episode, in whichever way
_FIRST = ("is_first", "episode_starts")  # of rows that begin one
_LENGTHS = ("episode_lengths", "episode_lens", "ep_lens", "traj_lengths", "lengths")


def array_episodes(path: Path, part: Part | None, choices: Choices) -> list[EpisodeStream]:
    """The episodes of a file:

    - one array of frames (T, H, W, 3), or (E, T, H, W, 3) of E episodes;
    - with `actions`, `rewards`, `terminals` and `timeouts` along the same axes. Episodes end where `episode_ends` or
      `episode_lengths` say, else before each row of `is_first` or `episode_starts` (Dreamer, SB3), else after each row
      that is terminal, timed out (D4RL), `is_last` or not `not_done`. `next_observations` adds the frame after the
      last row;
    - groups `data/demo_0`, `data/demo_1`, ... with `obs/NAME` and `actions` (robomimic);
    - flat columns with `pixels`, `ep_len` and `ep_offset` (stable-worldmodel).

    Whole-number actions become one-hot, as many as the file uses. InputError that names the file for anything else.
    """
    columns = open_columns(path)
    if is_worldmodel(columns):
        return worldmodel_episodes(path, columns, part, choices)
    demos = sorted({name.split("/")[1] for name in columns if re.match(r"data/[^/]+/(obs/|actions$)", name)})
    if demos:
        return _demos(path, columns, demos, part, choices)
    key = _frame_key(path, columns, choices.series)
    frames = columns[key]
    steps = _step_arrays(path, columns, axes=2 if len(frames.shape) == 5 else 1)
    if len(frames.shape) == 5:
        name = next((name for name in _LENGTHS if name in columns), None)
        lengths = None if name is None else whole(path, name, columns[name]).astype(int).ravel()
        return _batched(path, frames, steps, lengths, part)
    n = frames.shape[0]
    ends = _said_ends(path, columns, n)
    if ends is None:
        flags = [steps[name] for name in ("terminated", "truncated") if name in steps]
        flags += [whole(path, name, columns[name]) for name in _LAST if name in columns]
        if "not_done" in columns:
            flags.append(whole(path, "not_done", columns["not_done"]) == 0)
        ends = _ends(path, flags, n)
    if sorted({0, *ends}) != [0, *ends] or ends[-1] != n:
        raise InputError(f"{path}: the ends of episodes must rise to the number of frames, {n}")
    parts = _parts(path, columns, len(ends), part)
    following = columns.get(f"next_{key}")
    return [
        _episode(path, frames, following, start, end, {k: v[start:end] for k, v in steps.items()}, each)
        for start, end, each in zip([0, *ends], ends, parts, strict=False)
    ]


def _frame_key(path: Path, columns: Mapping[str, Column], choice: str | None) -> str:
    """Which array holds the frames: the chosen one, one by its name, or the only one that has the shape of frames."""
    found = [name for name, column in columns.items() if _are_frames(column) and "next_" not in name]
    by_name = [name for name in FRAME_KEYS if name in columns]
    if choice is not None and choice not in found:
        raise InputError(f"{path}: no frames {choice}; series is one of {', '.join(found) or 'none'}")
    key = choice or next((name for name in by_name if name in found), None)
    if key is None and len(found) == 1:
        key = found[0]
    if key is not None:
        return key
    if found:
        raise InputError(f"{path}: several arrays of frames: {', '.join(found)}; give series, one of them")
    if by_name:
        column = columns[by_name[0]]
        raise InputError(
            f"{path}: {by_name[0]} of shape {column.shape}; (T, H, W, 3) or (E, T, H, W, 3) is expected"
        )
    raise InputError(
        f"{path}: holds {', '.join(columns) or 'nothing'}; name the images `frames`, (T, H, W, 3) uint8"
    )


def _are_frames(column: Column) -> bool:
    shape = column.shape
    if len(shape) not in (3, 4, 5) or 0 in shape or column.dtype.kind not in "uifb":
        return False
    if len(shape) == 3:  # grey
        return column.dtype.kind in "ub" and min(shape[1:]) >= _LEAST_SIDE
    first, second, third = shape[-3:]
    last = third in (1, 3, 4) and min(first, second) >= _LEAST_SIDE
    return last or (first in (1, 3, 4) and min(second, third) >= _LEAST_SIDE)


def _step_arrays(path: Path, columns: Mapping[str, Column], axes: int = 1) -> dict[str, np.ndarray]:
    steps = {}
    for name, keys in STEP_KEYS.items():
        if found := next((key for key in keys if key in columns), None):
            steps[name] = whole(path, found, columns[found])
    if "actions" in steps:
        steps["actions"] = one_hot(steps["actions"], f"{path}: actions", axes)
    return steps


def _batched(
    path: Path,
    frames: Column,
    steps: Mapping[str, np.ndarray],
    lengths: Int[np.ndarray, " E"] | None,
    part: Part | None,
) -> list[EpisodeStream]:
    """A row an episode, of which the first `lengths` frames belong to it. InputError where it ends before that."""
    n, longest = frames.shape[:2]
    if lengths is None:
        lengths = np.full(n, longest)
    if len(lengths) != n or lengths.min() < 1 or lengths.max() > longest:
        raise InputError(f"{path}: lengths of episodes must be {n} numbers from 1 to {longest}")

    def images(i: int) -> Frames:
        clip = next(frames.rows(i, i + 1))[: lengths[i]]
        return ((f"{path}, episode {i}, frame {t}", frame) for t, frame in enumerate(clip))

    episodes = []
    for i, length in enumerate(lengths.tolist()):
        rows = {name: values[i, :length] for name, values in steps.items()}
        ends = [np.flatnonzero(rows[name]) for name in ("terminated", "truncated") if name in rows]
        if (first := min((int(end[0]) for end in ends if len(end)), default=length)) < length - 2:
            raise InputError(
                f"{path}: episode {i} ends with row {first} of {length}; give episode_lengths, or all rows one after "
                "the other"
            )
        episodes.append(EpisodeStream(lambda i=i: images(i), part, as_steps(rows, length, str(path))))
    return episodes


def _said_ends(path: Path, columns: Mapping[str, Column], n: int) -> list[int] | None:
    """One past the last frame of each episode, where the file says it, or which frames are the first ones."""
    if "episode_ends" in columns:
        return whole(path, "episode_ends", columns["episode_ends"]).tolist()
    if (name := next((name for name in _LENGTHS if name in columns), None)) is not None:
        return np.cumsum(whole(path, name, columns[name]).ravel()).tolist()
    if (name := next((name for name in _FIRST if name in columns), None)) is not None:
        begins = np.flatnonzero(whole(path, name, columns[name]).ravel())
        return [*begins[begins > 0].tolist(), n]
    return None


def _ends(path: Path, flags: Sequence[np.ndarray], n: int) -> list[int]:
    """One past the last frame of each episode, from the rows that end one."""
    flags = [flag.astype(bool).ravel() for flag in flags]
    if not flags:
        return [n]
    if len({len(flag) for flag in flags}) > 1 or len(flags[0]) not in (n, n - 1):
        raise InputError(
            f"{path}: {len(flags[0])} rows that say where episodes end, for {n} frames; give one each"
        )
    last: Bool[np.ndarray, " T"] = np.logical_or.reduce(flags)
    if len(last) < n:
        if last[:-1].any():
            raise InputError(f"{path}: one frame more than rows, and several episodes: give episode_ends")
        return [n]
    return sorted({*(np.flatnonzero(last) + 1).tolist(), n})


def _parts(path: Path, columns: Mapping[str, Column], n: int, part: Part | None) -> list[Part | None]:
    """Of a rollout file."""
    if part is not None or "episode_parts" not in columns:
        return [part] * n
    numbers = whole(path, "episode_parts", columns["episode_parts"]).tolist()
    if len(numbers) != n or not {*numbers} <= {*range(len(PARTS))}:
        raise InputError(f"{path}: episode_parts must hold {n} numbers from 0 to {len(PARTS) - 1}")
    return [PARTS[number] for number in numbers]


def _episode(
    path: Path,
    frames: Column,
    following: Column | None,
    start: int,
    end: int,
    steps: Mapping[str, Shaped[np.ndarray, "T ..."]],
    part: Part | None,
) -> EpisodeStream:
    """Rows `start` to `end`, and the frame after the last of them where the file has it."""
    whole_clip = following is not None and following.shape == frames.shape

    def images() -> Frames:
        after = following.rows(end - 1, end) if following is not None and whole_clip else iter(())
        rows = chain(frames.rows(start, end), after)
        return ((f"{path}, frame {t}", frame) for t, frame in enumerate(rows, start))

    return EpisodeStream(images, part, as_steps(steps, end - start + whole_clip, str(path)))


def _demos(
    path: Path, columns: Mapping[str, Column], demos: list[str], part: Part | None, choices: Choices
) -> list[EpisodeStream]:
    """A group a demonstration; `mask/train` and `mask/valid` name those of a part."""
    order = [item.name for item in in_order(Path(name) for name in demos)]
    masked = _masked_parts(path, columns) if part is None else {}
    groups = {name: select(columns, f"data/{name}/") for name in order}
    first = select(groups[order[0]], "obs/")
    key = _frame_key(path, first, choices.series)
    actions = {
        name: whole(path, "actions", group["actions"]) for name, group in groups.items() if "actions" in group
    }
    hot = one_hot(np.concatenate([*actions.values()]), f"{path}: actions") if actions else np.zeros((0, 0))
    rows = dict(zip(actions, np.split(hot, np.cumsum([len(a) for a in actions.values()])[:-1]), strict=False))
    episodes = []
    for name, group in groups.items():
        if f"obs/{key}" not in group:
            raise InputError(f"{path}: data/{name} has no obs/{key}, the first one has; leave it out")
        frames = group[f"obs/{key}"]
        steps = _step_arrays(path, {k: v for k, v in group.items() if k not in ("actions", "action")})
        if name in rows:
            steps["actions"] = rows[name]
        following = group.get(f"next_obs/{key}")
        episodes.append(
            _episode(path, frames, following, 0, frames.shape[0], steps, part or masked.get(name))
        )
    return episodes


def _masked_parts(path: Path, columns: Mapping[str, Column]) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    masks: dict[str, Part] = {"train": "train", "valid": "validation", "test": "test"}
    for name, part in masks.items():
        if f"mask/{name}" in columns:
            with reading(path), h5py.File(path) as file:
                item = file[f"mask/{name}"]
                if isinstance(item, h5py.Dataset):
                    parts |= {str(n, "utf-8") if isinstance(n, bytes) else str(n): part for n in item[:]}
    return parts
