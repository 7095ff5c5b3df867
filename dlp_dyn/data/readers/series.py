"""Pictures of one folder -> series: which are frames of one film, which are masks, previews or another camera's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from dlp_dyn.data.readers.base import in_order
from dlp_dyn.errors import InputError

MASKS = {
    "mask", "masks", "segmentation", "segmentations", "seg", "segm", "annotation", "annotations", "label", "labels",
    "instance", "instances", "semantic", "depth", "depths", "disparity", "flow", "flows", "normals",
    "coordinates", "matte",
    "groundtruth", "gt",
}  # fmt: skip
PREVIEWS = {"thumbnail", "thumbnails", "thumb", "thumbs", "preview", "previews", "poster", "cover"}
_WHOLE = r"(?:(?<![^\W_])-)?\d+"  # a minus after a letter or a digit is a hyphen
_ALIASES = {".jpeg": ".jpg", ".jfif": ".jpg", ".tiff": ".tif"}


@dataclass(frozen=True)
class Sorted:
    """series: the frames of one episode each, in order. left_out: with the reason."""

    series: list[list[Path]]
    left_out: list[tuple[Path, str]]


def kind(name: str) -> str | None:
    """What else than frames a file or folder of this name holds: `masks` or `previews`; None: frames."""
    words = set(re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))
    return "masks" if words & MASKS else "previews" if words & PREVIEWS else None


def pattern(file: Path) -> str:
    """The name with its numbers as stars: the same for all files of a series."""
    suffix = file.suffix.lower()
    return re.sub(rf"{_WHOLE}(\.\d+)?", "*", file.stem) + _ALIASES.get(suffix, suffix)


def by_pattern(files: Sequence[Path]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(pattern(file), []).append(file)
    return groups


def chosen(file: Path, root: Path, choice: str) -> bool:
    """Whether a file belongs to a series: a pattern of its name, or of its path from `root` on."""
    if choice in (pattern(file), "each"):
        return True
    return any(fnmatchcase(name, choice) for name in (file.name, file.relative_to(root).as_posix()))


def sort_out(pictures: Sequence[Path], choice: str | None) -> Sorted:
    """The series of a folder's pictures (all of them chosen already, where there is a choice).

    Masks and previews beside frames are left out, and single pictures beside many. Raises InputError for several series
    unless "each" one is wanted.
    """
    if choice is None and _counts_in_hexadecimals(pictures):
        return Sorted([sorted(pictures, key=lambda file: file.stem.lower())], [])
    groups = by_pattern(pictures)
    if choice == "each":
        return Sorted([s for files in groups.values() for s in _takes(files) or [in_order(files)]], [])
    if choice is not None:
        return Sorted([in_order(pictures)] if pictures else [], [])
    others = {name: kind(name) for name in groups}
    frames = [name for name in groups if others[name] is None] or list(groups)
    left_out = [
        (file, f"{others[name]} beside frames")
        for name in groups
        if name not in frames
        for file in groups[name]
    ]
    many = [name for name in frames if len(groups[name]) > 1]
    singles = [file for name in frames if len(groups[name]) == 1 for file in groups[name]]
    if len(many) == 1 and len(groups[many[0]]) > len(singles):
        left_out += [(file, "a single picture beside a series") for file in singles]
        frames = many
    files = [file for name in frames for file in groups[name]]
    takes = _takes(files) if len(frames) == 1 else []
    if (many and 1 < len(frames) <= max(4, len(files) // 4)) or takes or _twice(files):
        names = frames if len(frames) > 1 else [f"{take[0].name} to {take[-1].name}" for take in takes]
        raise InputError(
            f"{files[0].parent}: several series of pictures: {listed(names)}; give series: a pattern of the names to "
            "read, or each for an episode a series"
        )
    return Sorted([in_order(files)] if files else [], left_out)


def _counts_in_hexadecimals(files: Sequence[Path]) -> bool:
    """0008, 0009, 000a: numbers of one width that follow one another, after a beginning that all names share."""
    stems = [file.stem.lower() for file in files]
    tails = [match[0] if (match := re.search(r"[0-9a-f]+$", stem)) else "" for stem in stems]
    width = min(map(len, tails), default=0)
    values = sorted(int(stem[-width:], 16) for stem in stems) if width else []
    return (
        len(values) > 16
        and len({*map(len, stems)}) == len({stem[:-width] for stem in stems}) == 1
        and values == list(range(values[0], values[0] + len(values)))
    )


def _twice(files: Sequence[Path]) -> bool:
    """Each picture in two formats."""
    return len({file.stem for file in files}) < len(files)


def _takes(files: Sequence[Path]) -> list[list[Path]]:
    """The parts of a series that count up from the same number again, as 1_0, 1_1, 2_0, 2_1; none for one part."""
    numbered: dict[tuple[str, ...], list[tuple[int, Path]]] = {}
    for file in files:
        numbers = re.findall(_WHOLE, file.stem)
        if len(numbers) < 2:
            return []
        numbered.setdefault(tuple(numbers[:-1]), []).append((int(numbers[-1]), file))
    takes = [sorted(take) for take in numbered.values()]
    starts = {take[0][0] for take in takes}
    counted = all(len(take) > 1 and take[-1][0] - take[0][0] == len(take) - 1 for take in takes)
    if len(takes) < 2 or len(starts) > 1 or not counted:
        return []
    order = {take[0]: take for take in (in_order([file for _, file in take]) for take in takes)}
    return [order[first] for first in in_order(order)]


def listed(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
