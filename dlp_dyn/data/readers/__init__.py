"""What others have made, read episode by episode and frame by frame: one file a format."""

import re
from pathlib import Path

from dlp_dyn.data.readers.arrays import ARRAYS, array_episodes
from dlp_dyn.data.readers.base import Choices, EpisodeStream, Listed, Reader
from dlp_dyn.data.readers.films import FILMS, film_episode
from dlp_dyn.data.readers.folders import Scan, open_folder, store_of
from dlp_dyn.data.readers.lerobot import open_lerobot
from dlp_dyn.data.readers.minari import open_minari
from dlp_dyn.data.readers.pictures import PICTURES, clip_episode, n_pages, read_picture
from dlp_dyn.errors import InputError

__all__ = ["Choices", "EpisodeStream", "Reader", "open_source"]

LAYOUTS = (
    "a folder of frames, of videos or of episode folders (also below train, val, test), a video, .npy, .npz, .hdf5, "
    "a data set of Minari, LeRobot or stable-worldmodel"
)


def open_source(path: str | Path, choices: Choices | None = None) -> Reader:
    """The reader for what lies under a path, or for the id of a Minari data set. InputError where there is none."""
    choices, place = choices or Choices(), Path(path)
    if not place.exists():
        if re.fullmatch(r"([\w.-]+/)*[\w.-]+-v\d+", str(path)):
            return open_minari(str(path), choices)
        raise InputError(f"{path}: no such file or folder; expected {LAYOUTS}")
    if place.is_file():
        return _open_file(place, choices)
    if place.suffix == ".lance":
        raise InputError(
            f"{path}: a Lance table, which is not read; where stable-worldmodel is installed, `from "
            f"stable_worldmodel.data import convert; convert('{path}', '{place.with_suffix('.h5')}', "
            "dest_format='hdf5')` makes a file of it that is"
        )
    store = store_of(place)
    if store == "Minari":
        return open_minari(place if (place / "metadata.json").is_file() else place / "data", choices)
    if store == "LeRobot":
        return open_lerobot(place, choices)
    return open_folder(place, choices)


def _open_file(file: Path, choices: Choices) -> Listed:
    suffix = file.suffix.lower()
    if suffix in FILMS:
        film = Scan(file.parent, choices).with_masks(film_episode(file, None, choices), file)
        return Listed([film], f"{file}: one film")
    if suffix in ARRAYS:
        episodes = array_episodes(file, None, choices)
        return Listed(episodes, f"{file}: {len(episodes)} episodes of arrays")
    if suffix in PICTURES and n_pages(file) > 1:
        return Listed([clip_episode(file, None, choices)], f"{file}: one clip of pages")
    if suffix in PICTURES:
        single = EpisodeStream(lambda: [(str(file), read_picture(file))], alpha=True)
        return Listed([single], f"{file}: one picture")
    raise InputError(f"{file}: {suffix or 'no suffix'} is not a format read here; expected {LAYOUTS}")
