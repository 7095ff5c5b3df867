"""The data set that is given to other tools: 20 episodes, two cameras, three tasks, each frame with its number."""

from pathlib import Path

import numpy as np

from benchmarks.data_trials.trial import numbered
from dlp_dyn.data.writer import PARTS, Episode, RolloutWriter

TASKS = ("lift the cube", "close the drawer", "press the button")
N_EPISODES = 20


def write(path: Path) -> None:
    rng = np.random.default_rng(0)
    with RolloutWriter(path, attributes={"fps": 12.5, "camera": "top"}) as writer:
        first = 0
        for number in range(N_EPISODES):
            length = int(rng.integers(20, 37))
            writer.append(episode(rng, first, length), PARTS[number % 3], text=TASKS[number % len(TASKS)])
            first += length


def episode(rng: np.random.Generator, first: int, length: int) -> Episode:
    """Frames numbered from `first` on; the second camera sees them smaller, and darker."""
    frames = np.stack([numbered((first + t) % 256) for t in range(length)])
    moves, ends = np.arange(length) < length - 1, np.arange(length) == length - 2
    return Episode(
        frames,
        rng.normal(size=(length, 2)).astype(np.float32) * moves[:, None],
        rng.normal(size=length).astype(np.float32) * moves,
        ends & bool(first % 2),
        ends & (not first % 2),
        observations={"state": rng.normal(size=(length, 4)).astype(np.float32)},
        views={"wrist": frames[:, ::2, ::2] // 2},
    )


def differing(name: str, found: np.ndarray, expected: np.ndarray, within: float = 1e-6) -> str:
    """How two arrays differ, in a few words; nothing where they agree."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        return f"{name} of shape {found.shape}, expected {expected.shape}"
    off = float(np.abs(found - expected).max(initial=0))
    return f"{name} off by {off:g}" if off > within else ""
