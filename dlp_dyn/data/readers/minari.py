"""Minari data sets with image observations -> episodes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from dlp_dyn.data.images import image_key
from dlp_dyn.data.readers.base import EpisodeStream
from dlp_dyn.data.writer import one_line
from dlp_dyn.errors import InputError


@dataclass(frozen=True)
class MinariReader:
    """One episode of the data set in memory at a time, as Minari reads them."""

    data: Any
    place: str | Path
    key: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def layout(self) -> str:
        where = f", images at {'/'.join(self.key)}" if self.key else ""
        return f"{self.place}: a Minari data set of {self.data.total_episodes} episodes{where}"

    def __iter__(self) -> Iterator[EpisodeStream]:
        space = self.data.action_space
        for episode in self.data.iterate_episodes():
            images = episode.observations
            for name in self.key:
                images = images[name]
            actions = [gym.spaces.flatten(space, a) for a in _rows(episode.actions, len(episode.rewards))]
            steps = {
                "actions": np.array(actions, np.float32),
                "rewards": np.asarray(episode.rewards),
                "terminated": np.asarray(episode.terminations, bool),
                "truncated": np.asarray(episode.truncations, bool),
            }
            named = [
                (f"{self.place}, episode {episode.id}, frame {i}", image) for i, image in enumerate(images)
            ]
            yield EpisodeStream(lambda named=named: named, None, steps)


def open_minari(place: str | Path) -> MinariReader:
    """A data set by its id (in the local Minari folder) or by its storage folder."""
    try:
        import minari
    except ImportError as error:
        raise InputError(
            f"{place}: reading Minari data sets needs minari; pip install 'dlp_dyn[minari]'"
        ) from error
    try:
        data = minari.load_dataset(place) if isinstance(place, str) else minari.MinariDataset(place)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(
            f"{place}: no readable Minari data set ({one_line(error)[:150]}); see `minari list local`"
        ) from error
    key = image_key(data.observation_space)
    if key is None:
        space = " ".join(str(data.observation_space).split())[:100]
        raise InputError(f"{place}: observations {space} hold no uint8 images; use another data set")
    return MinariReader(data, place, key, {"minari_id": data.spec.dataset_id})


def _rows(values: Any, length: int) -> list[Any]:
    """Minari's batched actions (arrays, or dicts and tuples of arrays) one by one."""
    if isinstance(values, dict):
        columns = {key: _rows(value, length) for key, value in values.items()}
        return [{key: rows[i] for key, rows in columns.items()} for i in range(length)]
    if isinstance(values, tuple):
        return list(zip(*(_rows(v, length) for v in values), strict=True))
    return list(values)
