"""Rollout file -> data set of another tool."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import PARTS
from dlp_dyn.data.writers import FORMATS, Source
from dlp_dyn.errors import InputError

_BATCH = 64


def export_data(
    path: str | Path,
    out: str | Path,
    format: str,
    *,
    particles: Callable[[UInt8[np.ndarray, "B H W 3"]], Float[np.ndarray, "B N D"]] | None = None,
    view: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Writes what a rollout file, or a folder of them, holds as another tool keeps it.

    format: "lerobot" (v3.0) or "minari", each a folder, or "worldmodel" (stable-worldmodel's HDF5). Frames, other
    views, actions, rewards, ends, texts, parts, ground truth and the rest of the observation go along, and come back
    with `import`.
    particles: what an image model sees in each frame, such as `ParticleEncoder.raw`, added to the observation as
    `particles`, in no order over time. view: the camera that it sees, None: the first.
    progress: told how many episodes are written.

    Raises InputError for an unknown format, and for what a format cannot hold.
    """
    if format not in FORMATS:
        raise InputError(f"format {format!r}: use one of {', '.join(FORMATS)}")
    rollouts, seen_by_model = Rollouts(path), Rollouts(path, view)
    source = Source(Path(out), rollouts.attributes)
    with FORMATS[format](source) as append:
        for number in range(rollouts.n_episodes):
            episode = rollouts.episode(number)
            if particles is not None:
                frames = seen_by_model.episode(number).frames
                batches = [particles(frames[i : i + _BATCH]) for i in range(0, len(frames), _BATCH)]
                seen = {**(episode.observations or {}), "particles": np.concatenate(batches)}
                episode = replace(episode, observations=seen)
            append(episode, PARTS[rollouts.episode_parts[number]], rollouts.episode_texts[number])
            if progress:
                progress(number + 1)
