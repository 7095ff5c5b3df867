"""Minari data sets with image observations -> episodes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from dlp_dyn.data.images import image_key
from dlp_dyn.data.readers.base import Choices, EpisodeStream, Frames
from dlp_dyn.data.readers.folders import SPLITS
from dlp_dyn.data.writer import FIRST_CAMERA, MASKS, one_line
from dlp_dyn.errors import InputError

Key = tuple[str, ...]


@dataclass(frozen=True)
class MinariReader:
    """One episode of the data set in memory at a time, as Minari reads them.

    cameras: where images stand in an observation, the first as frames. others: where other arrays do, by their names in
    a rollout file.
    """

    data: Any
    place: str | Path
    cameras: Mapping[str, Key]
    others: Mapping[str, Key]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def layout(self) -> str:
        keys = ", ".join("/".join(key) for key in self.cameras.values() if key)
        where = f", images at {keys}" if keys else ""
        return f"{self.place}: a Minari data set of {self.data.total_episodes} episodes{where}"

    def __iter__(self) -> Iterator[EpisodeStream]:
        space = self.data.action_space
        for episode in self.data.iterate_episodes():
            actions = [gym.spaces.flatten(space, a) for a in _rows(episode.actions, len(episode.rewards))]
            steps = {
                "actions": np.array(actions, np.float32),
                "rewards": np.asarray(episode.rewards),
                "terminated": np.asarray(episode.terminations, bool),
                "truncated": np.asarray(episode.truncations, bool),
            }
            about = next(iter(self.data.storage.get_episode_metadata([episode.id])))
            name = f"{self.place}, episode {episode.id}"
            views = {
                camera: _named(_at(episode.observations, key), f"{name}, {camera}")
                for camera, key in self.cameras.items()
            }
            columns = {to: np.asarray(_at(episode.observations, key)) for to, key in self.others.items()}
            masks = columns.pop(MASKS, None)
            yield EpisodeStream(
                views.pop(next(iter(views))), SPLITS.get(about.get("part", "")), steps,
                columns=columns, views=views, text=str(about.get("text", "")),
                masks=None if masks is None else _named(masks, f"{name}, masks"),
            )  # fmt: skip


def open_minari(place: str | Path, choices: Choices) -> MinariReader:
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
    cameras, others = {_camera(key): key}, {}
    for path, space in _arrays(data.observation_space):
        if path != ("states", "masks") and image_key(space) == ():
            cameras.setdefault(_camera(path), path)
        elif path:
            group = "states/" if path[0] == "states" else "observations/"
            others[group + ".".join(path[1:] if path[0] == "states" else path)] = path
    if choices.camera is not None:
        if choices.camera not in cameras:
            raise InputError(f"{place}: no camera {choices.camera!r}; there are {', '.join(cameras)}")
        if choices.camera != next(iter(cameras)):
            others = {to: path for to, path in others.items() if not to.startswith("states/")}
        cameras = {choices.camera: cameras[choices.camera]}
    return MinariReader(data, place, cameras, others, {"minari_id": data.spec.dataset_id})


def _camera(key: Key) -> str:
    return ".".join(key[1:] if key[:1] == ("views",) else key) or FIRST_CAMERA


def _arrays(space: gym.Space, key: Key = ()) -> Iterator[tuple[Key, gym.Space]]:
    """Where arrays of numbers stand in a space."""
    if isinstance(space, gym.spaces.Dict):
        for name, inner in space.spaces.items():
            yield from _arrays(inner, (*key, name))
    elif isinstance(space, gym.spaces.Box):
        yield key, space


def _at(observations: Any, key: Key) -> Any:
    for name in key:
        observations = observations[name]
    return observations


def _named(images: Any, name: str) -> Callable[[], Frames]:
    return lambda: [(f"{name}, frame {i}", image) for i, image in enumerate(images)]


def _rows(values: Any, length: int) -> list[Any]:
    """Minari's batched actions (arrays, or dicts and tuples of arrays) one by one."""
    if isinstance(values, dict):
        columns = {key: _rows(value, length) for key, value in values.items()}
        return [{key: rows[i] for key, rows in columns.items()} for i in range(length)]
    if isinstance(values, tuple):
        return list(zip(*(_rows(v, length) for v in values), strict=True))
    return list(values)
