"""Synthetic sources in the place of a file: `data.path=balls` draws Balls once, into a cache."""

import os
from pathlib import Path

from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.faces import write_faces
from dlp_dyn.data.shapes import write_shapes
from dlp_dyn.progress import track

WRITERS = {"balls": write_balls, "shapes": write_shapes, "faces": write_faces}
_EDITION = 2  # raise it where what is drawn, or kept of it, changes
# Of training, validation, test. Fewer than `dlp-dyn collect` draws: seconds, and 150 MB at 64 pixels.
_EPISODES = {"balls": (100, 10, 10), "shapes": (10_000, 500, 500), "faces": (10_000, 500, 1_000)}


def cache_folder() -> Path:
    """Where drawn data is kept: $XDG_CACHE_HOME/dlp_dyn, ~/.cache/dlp_dyn where that is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dlp_dyn"


def local_file(path: str | Path, image_size: int, quiet: bool = False) -> Path:
    """The rollout file that a path or the name of a synthetic source stands for, drawn where it is not there yet.

    quiet: no progress is shown. Raises InputError when the cache cannot be written.
    """
    name = str(path)
    if name not in WRITERS or Path(path).is_file():
        return Path(path)
    file = cache_folder() / f"{name}-{image_size}px-{_EDITION}.h5"
    if not file.is_file():
        # Balls of an eighth of the image, whatever its size.
        scene = {"radius": image_size / 8, "speed": 3 * image_size / 64} if name == "balls" else {}
        counts = _EPISODES[name]
        with track(f"draw {name} into {file}", sum(counts), "episodes", quiet=quiet) as bar:
            WRITERS[name](file, counts, image_size=image_size, progress=bar.reach, **scene)
    return file
