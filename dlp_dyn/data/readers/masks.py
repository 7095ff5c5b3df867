"""Masks that lie beside frames, a picture a frame: in the same folder, in one within it, or in a tree of their own."""

import io
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from PIL import Image

from dlp_dyn.data.readers.base import Frames, in_order
from dlp_dyn.data.readers.pictures import PICTURES, read_picture
from dlp_dyn.errors import InputError


def is_mask(file: Path, root: Path, choice: str | None) -> bool:
    """Whether a picture is chosen as a mask, by a pattern of its name or of its path from `root` on."""
    if choice is None:
        return False
    return any(fnmatchcase(name, choice) for name in (file.name, file.relative_to(root).as_posix()))


def mask_folder(place: Path, root: Path, choice: str) -> Path | None:
    """The folder with the masks of what lies in `place`, a folder of frames or a film; None where there is none.

    For `clips/a/` or `clips/a.mp4` and the choice `masks` it is `clips/a/masks`, `clips/masks/a`, `clips/masks`,
    `masks/clips/a` or `masks/a`, the first that there is.
    """
    own = place.with_suffix("") if place.is_file() else place
    above = [folder for folder in (own, *own.parents) if folder.is_relative_to(root)]
    for folder in above:
        names = own.relative_to(folder).parts
        for within in (names, names[1:]):
            found = folder.joinpath(choice, *within)
            if found.is_dir() and pictures_in(found):
                return found
    return None


def masks_of(frames: Sequence[Path], files: Sequence[Path]) -> Callable[[], Frames]:
    """The masks of frames, or of a film where `frames` is empty. InputError where they are not those of the frames."""
    masks = in_order(files)
    if frames and len(frames) != len(masks):
        raise InputError(
            f"{masks[0].parent}: {len(masks)} masks for {len(frames)} frames of {frames[0].parent}; one a frame is "
            "expected"
        )
    for frame, mask in zip(frames, masks, strict=False):
        if _number(frame) != _number(mask):
            raise InputError(f"{mask}: stands beside the frame {frame.name}, whose number is another one")
    return lambda: ((str(mask), _read(mask)) for mask in masks)


def pictures_in(folder: Path) -> list[Path]:
    return [
        file
        for file in folder.iterdir()
        if file.is_file() and file.suffix.lower() in PICTURES and not file.name.startswith(".")
    ]


def _number(file: Path) -> int | None:
    """The last of its name: that of the frame."""
    numbers = re.findall(r"\d+", file.stem)
    return int(numbers[-1]) if numbers else None


def _read(file: Path) -> np.ndarray:
    """Numbers of things: those of a palette are the numbers of its colours."""
    picture = read_picture(file)
    with Image.open(io.BytesIO(file.read_bytes())) as image:
        return np.asarray(image) if image.mode == "P" else picture
