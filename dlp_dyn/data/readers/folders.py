"""A folder of films, of pictures, of arrays, or of folders of them -> episodes, and what was understood."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dlp_dyn.data.readers.arrays import ARRAYS, array_episodes
from dlp_dyn.data.readers.base import Choices, EpisodeStream, Frames, Listed, in_order
from dlp_dyn.data.readers.films import FILMS, film_episode
from dlp_dyn.data.readers.masks import is_mask, mask_folder, masks_of, pictures_in
from dlp_dyn.data.readers.pictures import PICTURES, clip_episode, n_pages, read_picture
from dlp_dyn.data.readers.series import by_pattern, chosen, kind, listed, pattern, sort_out
from dlp_dyn.data.writer import PARTS, Part
from dlp_dyn.errors import InputError

SPLITS: dict[str, Part] = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
    "dev": "validation", "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip
CONTENT = FILMS | ARRAYS | PICTURES
_JUNK = {"__macosx", "thumbs.db", "desktop.ini"}


def open_folder(root: Path, choices: Choices) -> Listed:
    """The episodes below a folder. InputError where it holds none, or several things that need a choice."""
    scan = Scan(root, choices)
    episodes = list(scan.visit(root, None))
    if not episodes:
        wanted = f" that match the series {choices.series}" if choices.series else ""
        raise InputError(f"{root}: no frames or videos found{wanted}{scan.left_out('; left out: ')}")
    if any(e.part for e in episodes) and not all(e.part for e in episodes):
        raise InputError(
            f"{root}: some folders are parts (train, test), others are not; sort all into parts, or none"
        )
    return Listed(episodes, scan.layout(episodes))


DEEPEST = 100  # folders in folders


class Scan:
    """One look through a folder and all below it."""

    def __init__(self, root: Path, choices: Choices) -> None:
        self.root, self.choices = root, choices
        self._seen = {root.resolve()}
        self._omitted: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()
        self._first = ""
        self._mask_folders: set[Path] = set()

    def visit(self, folder: Path, part: Part | None) -> Iterator[EpisodeStream]:
        if folder != self.root and (store := store_of(folder)):
            raise InputError(f"{folder}: a {store} data set; import it by itself")
        if len(folder.parts) - len(self.root.parts) > DEEPEST:
            raise InputError(
                f"{self.root}: folders in folders, more than {DEEPEST} deep; import an inner one"
            )
        children = self._children(folder)
        parts = _parts(children) if part is None else {}
        for child in sorted(parts, key=lambda child: PARTS.index(parts[child])):
            yield from self._enter([child], parts[child])
        for child in children if parts else ():
            if child.name == self.choices.masks:
                continue
            if child not in parts and (child.is_dir() or child.suffix.lower() in CONTENT):
                self._leave_out(child, f"beside {listed([c.name for c in parts])}")
        if not parts:
            yield from self._enter(children, part)

    def _enter(self, children: Sequence[Path], part: Part | None) -> Iterator[EpisodeStream]:
        folders = [child for child in children if child.is_dir()]
        files = self._files([child for child in children if not child.is_dir()])
        masks = [file for file in files if is_mask(file, self.root, self.choices.masks)]
        files = [file for file in files if file not in masks]
        clips, pictures = _sorted_by_pages([file for file in files if file.suffix.lower() in PICTURES])
        films = [file for file in files if file.suffix.lower() in FILMS | ARRAYS] + clips
        found = self._series(pictures, films, folders)
        if masks and len(found) != 1:
            raise InputError(
                f"{masks[0].parent}: masks {self.choices.masks} for {len(found)} series of frames; give series, one "
                "of them"
            )
        for series in found:
            self._counts["folders of frames"] += 1
            self._counts["frames"] += len(series)
            self._first = self._first or (
                f"; the first shows {series[0].relative_to(self.root)} to {series[-1].name}"
            )
            stream = EpisodeStream(lambda series=series: _pictures(series), part, alpha=True)
            yield self.with_masks(stream, series[0].parent, series, masks)
        frames_here = bool(pictures or films)
        for child in in_order([*films, *folders]):
            if child.is_dir():
                if child.name == self.choices.masks:
                    continue
                if self._is_aside(child, folders, frames_here):
                    self._leave_out(child, f"{kind(child.name)} beside frames")
                else:
                    yield from self.visit(child, part)
            elif child.suffix.lower() in ARRAYS:
                self._counts["arrays"] += 1
                yield from array_episodes(child, part, self.choices)
            else:
                self._counts["clips of pages" if child in clips else "films"] += 1
                make = clip_episode if child in clips else film_episode
                yield self.with_masks(make(child, part, self.choices), child)

    def with_masks(
        self, stream: EpisodeStream, place: Path, frames: Sequence[Path] = (), masks: Sequence[Path] = ()
    ) -> EpisodeStream:
        """An episode with the masks that are chosen: those given, else those of a folder of their own.

        InputError where there are none, or where another episode has them.
        """
        choice = self.choices.masks
        if choice is None:
            return stream
        if not masks:
            folder = mask_folder(place, self.root, choice)
            if folder is None:
                raise InputError(
                    f"{place}: no masks {choice} beside these frames; name their folder, or a pattern of their names"
                )
            if folder in self._mask_folders:
                raise InputError(
                    f"{folder}: masks of several episodes; give each one a folder of its own in it"
                )
            self._mask_folders.add(folder)
            masks = pictures_in(folder)
        self._counts["with masks"] += 1
        return replace(stream, masks=masks_of(frames, masks))

    def _children(self, folder: Path) -> list[Path]:
        """Without hidden ones, and each only once where links lead to it as well."""
        children = []
        for child in in_order(folder.iterdir()):
            if child.name.startswith(".") or child.name.lower() in _JUNK:
                continue
            if child.is_symlink() and not child.exists():
                raise InputError(f"{child}: a link to nothing; repair or remove it")
            if not child.is_dir() and not child.is_file():
                self._leave_out(child, "a pipe or a device")
                continue
            if self._is_read_elsewhere(child):
                self._leave_out(child, "a link to what is read already")
                continue
            children.append(child)
        return children

    def _is_read_elsewhere(self, child: Path) -> bool:
        """Whether a link leads into this folder, to one above it, or where another has led to."""
        if not child.is_dir() and child.suffix.lower() not in FILMS | ARRAYS:
            return False
        target, root = child.resolve(), self.root.resolve()
        if child.is_symlink() and (target.is_relative_to(root) or root.is_relative_to(target)):
            return True
        known = target in self._seen
        self._seen.add(target)
        return known

    def _files(self, files: Sequence[Path]) -> list[Path]:
        """Those that can be read, and are chosen."""
        readable = []
        for file in files:
            if file.suffix.lower() not in CONTENT:
                self._leave_out(file, "not a format read here")
            elif is_mask(file, self.root, self.choices.masks):
                readable.append(file)
            elif self.choices.series is not None and not chosen(file, self.root, self.choices.series):
                self._leave_out(file, "not of the series")
            else:
                readable.append(file)
        return readable

    def _series(
        self, pictures: Sequence[Path], films: Sequence[Path], folders: Sequence[Path]
    ) -> list[list[Path]]:
        """The pictures of one folder as episodes. InputError where films and frames lie side by side."""
        if self.choices.series is None and pictures:
            stems = {film.stem for film in films}
            few = len(pictures) == 1 or all(file.stem in stems or kind(file.name) for file in pictures)
            if (films and few) or (folders and len(pictures) == 1):
                for file in pictures:
                    self._leave_out(file, f"a picture beside {'films' if films else 'folders'}")
                return []
            if films:
                raise InputError(
                    f"{pictures[0].parent}: holds both films ({films[0].name}) and {len(pictures)} pictures "
                    f"({pattern(pictures[0])}); give series: a pattern of the names to read"
                )
        found = sort_out(pictures, self.choices.series)
        for file, reason in found.left_out:
            self._leave_out(file, reason)
        return found.series

    def _is_aside(self, folder: Path, beside: Sequence[Path], frames_here: bool) -> bool:
        """Whether a folder holds masks or previews of what lies beside it."""
        if self.choices.series is not None or kind(folder.name) is None:
            return False
        return frames_here or any(kind(other.name) is None for other in beside)

    def _leave_out(self, path: Path, reason: str) -> None:
        self._omitted.setdefault(reason, []).append(str(path.relative_to(self.root)))

    def left_out(self, before: str) -> str:
        reasons = [f"{listed(names)} ({reason})" for reason, names in self._omitted.items()]
        return before + "; ".join(reasons) if reasons else ""

    def layout(self, episodes: Sequence[EpisodeStream]) -> str:
        counts = dict(self._counts)
        frames = counts.pop("frames", 0)
        what = ", ".join(
            f"{n} {name}" + (f" with {frames} frames" if name == "folders of frames" else "")
            for name, n in counts.items()
        )
        parts = Counter(episode.part for episode in episodes)
        split = "; " + ", ".join(f"{part} {parts[part]}" for part in PARTS) if any(parts) else ""
        return f"{self.root}: {len(episodes)} episodes: {what}{split}{self._first}" + self.left_out(
            "\nleft out: "
        )


def store_of(folder: Path) -> str | None:
    """The kind of data set whose folder this is, by the files that it keeps about itself."""
    if (folder / "meta" / "info.json").is_file():
        return "LeRobot"
    if (folder / "metadata.json").is_file() or (folder / "data" / "metadata.json").is_file():
        return "Minari"
    return None


def _pictures(files: Sequence[Path]) -> Frames:
    return ((str(file), read_picture(file)) for file in files)


def _sorted_by_pages(pictures: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Files that are clips of several pages each, and those that are one frame each: as the first of a series is."""
    clips, single = [], []
    for files in by_pattern(pictures).values():
        (clips if n_pages(files[0]) > 1 else single).extend(files)
    return clips, single


def _parts(children: Sequence[Path]) -> dict[Path, Part]:
    """Which children are parts: `train`, `VALIDATION`, `video_test`, `trainset`; also files: train.npz, test.npz."""
    named = {child: child.name if child.is_dir() else child.stem for child in children}
    exact: dict[Path, Part] = {
        child: SPLITS[name.lower()] for child, name in named.items() if name.lower() in SPLITS
    }
    alike: dict[Path, Part] = {
        child: part for child in children if child.is_dir() and (part := _alike(child.name))
    }
    films = [child for child in children if not child.is_dir() and child.suffix.lower() in FILMS | ARRAYS]
    of_films: dict[Path, Part] = {child: part for child in films if (part := _alike(child.stem))}
    if len(of_films) == len(films):  # train_0.mp4, test_0.mp4; not films one of which is called so
        alike |= of_films
    several = len({*alike.values()}) > 1 and "train" in alike.values()
    found = alike | exact if several else exact
    if len({*found.values()}) == 1:
        for child in [child for child in found if not child.is_dir()]:
            del found[child]
        others = [
            child for child in children if child.is_dir() and child not in found and not kind(child.name)
        ]
        if found and others:
            raise InputError(
                f"{others[0].parent}: {next(iter(found)).name} is the name of a part, {others[0].name} is not; "
                "import them one by one, or rename them train, validation and test"
            )
    return found


def _alike(name: str) -> Part | None:
    """`video_train`, `TestVideos`, `val2017`, `trainset`; None for a name without a part in it."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    parts: set[Part] = {SPLITS[word] for word in words if word in SPLITS}
    if not parts:
        joined = "".join(words)
        for word, part in SPLITS.items():
            if len(word) > 3 and (joined.startswith(word) or joined.endswith(word)):
                parts.add(part)
        if joined.startswith("val"):
            parts.add("validation")
    return parts.pop() if len(parts) == 1 else None
