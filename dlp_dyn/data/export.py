"""Rollout file -> data set of another tool."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import PARTS, Episode
from dlp_dyn.data.writers import FORMATS, Source
from dlp_dyn.errors import InputError

_BATCH = 64
PARTICLES = "particles"


def export_data(
    path: str | Path,
    out: str | Path,
    format: str,
    *,
    run: str | Path | None = None,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> None:
    """Writes what a rollout file, or a folder of them, holds as another tool keeps it.

    format: "lerobot" (v3.0) or "minari", each a folder, or "worldmodel" (stable-worldmodel's HDF5). Frames, other
    views, actions, rewards, ends, texts, parts, ground truth and the rest of the observation go along, and come back
    with `import`.
    run: an image model whose particles of each frame are added to the observation as `particles`, (N, D) in the model's
    own units, in no order over time. progress: told how many episodes are written.

    Raises InputError for an unknown format, and for what a format cannot hold.
    """
    if format not in FORMATS:
        raise InputError(f"format {format!r}: use one of {', '.join(FORMATS)}")
    rollouts = Rollouts(path)
    encode = _encoder(run, device) if run is not None else None
    source = Source(Path(out), rollouts.attributes)
    with FORMATS[format](source) as append:
        for number in range(rollouts.n_episodes):
            episode = rollouts.episode(number)
            if encode is not None:
                seen = {**(episode.observations or {}), PARTICLES: encode(episode)}
                episode = replace(episode, observations=seen)
            append(episode, PARTS[rollouts.episode_parts[number]], rollouts.episode_texts[number])
            if progress:
                progress(number + 1)


def _encoder(run: str | Path, device: str) -> Callable[[Episode], Any]:
    from dlp_dyn.observation.encoder import load_encoder

    encoder = load_encoder(run, device=device)
    return lambda episode: np.concatenate(
        [encoder.raw(episode.frames[i : i + _BATCH]) for i in range(0, len(episode), _BATCH)]
    )
