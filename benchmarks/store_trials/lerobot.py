"""LeRobot reads what we write, and we what it writes, frame by frame."""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data_trials.trial import Result, difference, number, numbered
from benchmarks.store_trials.episodes import differing, write
from dlp_dyn.data.convert import convert
from dlp_dyn.data.export import export_data
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Episode

_KEYS = {
    "action": "actions",
    "next.reward": "rewards",
    "next.terminated": "terminated",
    "next.truncated": "truncated",
    "observation.state": "observations/state",
}
_TASKS = ("lift the cube", "close the drawer")


def trials(place: Path) -> Iterator[Result]:
    os.environ["HF_HUB_OFFLINE"] = "1"  # both data sets lie here
    tool: Any = importlib.import_module("lerobot.datasets.lerobot_dataset")
    yield from _ours(tool.LeRobotDataset, place)
    yield from _its_own(tool.LeRobotDataset, place)


def _ours(opened: Any, place: Path) -> Iterator[Result]:
    write(place / "ours.h5")
    export_data(place / "ours.h5", place / "ours", "lerobot")
    data, ours = opened("of/ours", root=place / "ours"), Rollouts(place / "ours.h5")
    at = 0
    for i in range(ours.n_episodes):
        episode, errors, off = ours.episode(i), [], 0.0
        columns = episode.columns()
        for t in range(len(episode)):
            row = data[at + t]
            if (int(row["episode_index"]), int(row["frame_index"]), row["task"]) != (
                i, t, ours.episode_texts[i],
            ):  # fmt: skip
                errors.append(f"frame {t} is said to be {row['frame_index']} of {row['episode_index']}")
            errors += [
                differing(key, row[key].numpy().reshape(-1), columns[name][t].reshape(-1))
                for key, name in _KEYS.items()
            ]
            for camera, frames in (("top", episode.frames), ("wrist", columns["views/wrist"])):
                seen = (row[f"observation.images.{camera}"].permute(1, 2, 0).numpy() * 255).round()
                errors.append(difference([seen], [frames[t]]))
                off = max(off, float(np.abs(seen - frames[t]).mean()))
            top = (row["observation.images.top"].permute(1, 2, 0).numpy() * 255).round()
            if number(top) != (at + t) % 256:
                errors.append(f"frame {t} shows number {number(top)}")
        at += len(episode)
        said = f"episode {i}, {len(episode)} frames, the worst {off:.2f} of 255 off in the mean"
        yield _result("ours, opened by LeRobot", said, errors)
    if len(data) != ours.n_frames:
        yield Result("ours, opened by LeRobot", "length", "wrong", f"{len(data)} frames, not {ours.n_frames}")


def _its_own(opened: Any, place: Path) -> Iterator[Result]:
    """H.264 and, where its own encoder is there, AV1."""
    for codec in ("h264", "libsvtav1"):
        root, kind = place / codec, f"its own, {codec}, read by us"
        expected = _recorded(opened, root, codec)
        convert(root, place / f"{codec}.h5")
        read = Rollouts(place / f"{codec}.h5")
        for i, (episode, task) in enumerate(expected):
            found, errors = read.episode(i), [] if read.episode_texts[i] == task else ["another task"]
            errors.append(difference([*found.frames], [*episode.frames]))
            columns = found.columns()
            errors += [
                differing(name, columns[name], values)
                for name, values in episode.columns().items()
                if name != "frames" and not name.startswith("views/")
            ]
            errors.append(difference([*columns["views/wrist"]], [*episode.columns()["views/wrist"]]))
            if [number(frame) for frame in found.frames] != [number(frame) for frame in episode.frames]:
                errors.append("frames show other numbers")
            yield _result(kind, f"episode {i}, {len(episode)} frames", errors)


def _recorded(opened: Any, root: Path, codec: str) -> list[tuple[Episode, str]]:
    """Recorded through LeRobot's own calls, and what was put in."""
    features = {
        **{
            f"observation.images.{camera}": {
                "dtype": "video", "shape": shape, "names": ["height", "width", "channels"],
            }
            for camera, shape in (("top", (64, 64, 3)), ("wrist", (64, 96, 3)))
        },
        "action": {"dtype": "float32", "shape": (2,), "names": None},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.done": {"dtype": "bool", "shape": (1,), "names": None},
        "observation.state": {"dtype": "float32", "shape": (3,), "names": None},
    }  # fmt: skip
    data = opened.create("of/its_own", fps=10, features=features, root=root, use_videos=True, vcodec=codec)
    rng, found = np.random.default_rng(1), []
    for i in range(4):
        length, task = 6 + i, _TASKS[i % 2]
        frames = np.stack([numbered(20 * i + t) for t in range(length)])
        wide = np.stack([numbered(20 * i + t, width=96) for t in range(length)])
        actions, states = (rng.normal(size=(length, n)).astype(np.float32) for n in (2, 3))
        rewards, done = rng.normal(size=length).astype(np.float32), np.arange(length) == length - 1
        for t in range(length):
            data.add_frame(
                {
                    "observation.images.top": frames[t], "observation.images.wrist": wide[t],
                    "action": actions[t], "next.reward": rewards[t : t + 1], "next.done": done[t : t + 1],
                    "observation.state": states[t], "task": task,
                }
            )  # fmt: skip
        data.save_episode()
        # What leads out of an episode is not kept; the end moves to the row that leads to the last frame.
        moves = np.arange(length) < length - 1
        kept = Episode(
            frames, actions * moves[:, None], rewards * moves, np.arange(length) == length - 2,
            observations={"state": states}, views={"wrist": wide},
        )  # fmt: skip
        found.append((kept, task))
    data.finalize()
    return found


def _result(kind: str, name: str, errors: list[str]) -> Result:
    wrong = next(filter(None, errors), "")
    return Result(kind, name, "wrong" if wrong else "right", wrong)
