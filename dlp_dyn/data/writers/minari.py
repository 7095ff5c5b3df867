"""Minari data sets, lossless: Minari itself would store frames as JPEG."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np

from dlp_dyn.data.writer import Episode, Part
from dlp_dyn.data.writers.base import Append, Source, appearing
from dlp_dyn.errors import InputError


@contextmanager
def write_minari(source: Source) -> Iterator[Append]:
    """A folder that `minari.load_dataset` finds where it stands in Minari's own, by its name.

    Observations are a Dict: `pixels`, what else an agent sees by its name, and Dicts of `views` and `states`. Texts and
    parts stand with the metadata of each episode. Unknown rewards are 0. Raises InputError for episodes without a step.
    """
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as error:
        raise InputError("writing Minari data sets needs minari; pip install 'dlp_dyn[minari]'") from error
    one_hot = source.attributes.get("action_kind") == "one-hot"
    storage: MinariStorage | None = None
    with appearing(source.out) as folder:

        def append(episode: Episode, part: Part, text: str) -> None:
            nonlocal storage
            if episode.actions is None or len(episode) < 2:
                raise InputError(
                    f"{source.out}: Minari keeps steps: an episode of {len(episode)} frames "
                    f"{'has none' if episode.actions is not None else 'without actions has none'}; use another format"
                )
            observations = _observations(episode)
            if storage is None:
                width = episode.actions.shape[1]
                actions = gym.spaces.Discrete(width) if one_hot else _box(episode.actions)
                (folder / "data").mkdir(parents=True)
                storage = MinariStorage.new(
                    folder / "data", observation_space=_space(observations), action_space=actions,
                    jpeg_encoding=False,
                )  # fmt: skip
                storage.update_metadata({
                    "dataset_id": re.sub(r"[^\w.-]", "-", source.out.name),
                    "minari_version": minari.__version__,
                })  # fmt: skip
            n = len(episode) - 1
            steps = {
                name: np.zeros(n, kind) if values is None else values[:n].astype(kind)
                for name, values, kind in (
                    ("rewards", episode.rewards, np.float64),
                    ("terminations", episode.terminated, bool),
                    ("truncations", episode.truncated, bool),
                )
            }
            actions = episode.actions[:n]
            buffer = EpisodeBuffer(
                id=storage.total_episodes,
                observations=observations,
                actions=actions.argmax(1) if one_hot else actions,  # pyright: ignore[reportArgumentType]
                **steps,  # pyright: ignore[reportArgumentType]
            )
            storage.update_episodes([buffer])
            storage.update_episode_metadata([{"text": text, "part": part}], [storage.total_episodes - 1])

        yield append


def _observations(episode: Episode) -> dict[str, Any]:
    """Arrays by their names, in Dicts as their groups are."""
    found: dict[str, Any] = {"pixels": episode.frames, **(episode.observations or {})}
    for group in ("views", "states"):
        if arrays := getattr(episode, group):
            found[group] = {name: np.asarray(values) for name, values in arrays.items()}
    return found


def _space(arrays: dict[str, Any]) -> gym.Space:
    return gym.spaces.Dict(
        {name: _space(inner) if isinstance(inner, dict) else _box(inner) for name, inner in arrays.items()}
    )


def _box(rows: np.ndarray) -> gym.spaces.Box:
    """Of one row, as wide as its numbers go."""
    if rows.dtype == np.uint8:
        return gym.spaces.Box(0, 255, rows.shape[1:], np.uint8)
    return gym.spaces.Box(-np.inf, np.inf, rows.shape[1:], np.float32)
