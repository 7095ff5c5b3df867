"""Frame folders, videos, arrays and Minari data sets -> rollout file."""

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import imageio.v3 as iio
import numpy as np
from jaxtyping import UInt8

from dlp_dyn.data.images import Crop, as_rgb, fit, image_key
from dlp_dyn.data.writer import Episode, Part, RolloutWriter, one_line
from dlp_dyn.errors import InputError

IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
VIDEOS = {".mp4", ".gif", ".avi", ".mov", ".mkv", ".webm", ".m4v"}
ARRAYS = {".npy", ".npz"}
SPLITS: dict[str, Part] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
FRAME_KEYS = ("frames", "images", "imgs", "observations", "obs", "pixels", "video")
STEP_KEYS = {
    "actions": ("actions", "action"),
    "rewards": ("rewards", "reward"),
    "terminated": ("terminated", "terminations", "terminals", "dones"),
    "truncated": ("truncated", "truncations", "timeouts"),
}
LAYOUTS = (
    "a folder of frames, of videos or of episode folders (also below train, val, test), "
    "a video, .npy, .npz, or a Minari data set"
)
Frames = Iterable[tuple[str, np.ndarray]]  # with the name of each frame, for errors


@dataclass(frozen=True)
class Source:
    """One episode as found: frames are read only when asked for."""

    frames: Callable[[], Frames]
    part: Part | None = None
    steps: dict[str, np.ndarray] = field(default_factory=dict)
    """Rows of `writer.STEP_FIELDS`: one a frame, or one fewer."""


def convert(
    path: str | Path,
    out: str | Path,
    *,
    image_size: int | None = None,
    crop: Crop | None = None,
    episode_length: int | None = None,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Writes a rollout file from frames that exist already. `path` is one of:

    - `{train,val,test}/{episode}/{frames}.png` as OBJ3D, CLEVRER and PHYRE are laid out (`valid`,
      `validation` do as well); the parts are kept. Names are sorted by their numbers;
    - a folder of such episodes, of videos, of .npy or .npz files, or the frames of one episode;
    - one video (mp4, gif, ...);
    - .npy of shape (T, H, W, 3) or (E, T, H, W, 3); .npz with `frames` and, if known, `actions`, `rewards`,
      `terminated`, `truncated`, `episode_ends`, on the same leading axes. Action t leads from frame t to t +
      1;
    - a Minari data set (folder or id) with image observations.

    image_size, crop: see `images.fit`; without them all frames must have one size.
    episode_length: cut longer episodes into pieces of this many frames (a last piece may be shorter).
    seed: of the split into parts, where the source has none.
    progress: told how many episodes are written.

    Raises InputError that names the file or frame.
    """
    if episode_length is not None and episode_length < 1:
        raise InputError(f"episode_length {episode_length}: must be 1 or more")
    sources, attributes = _find(path)
    shape: tuple[int, ...] | None = None
    done = 0
    with RolloutWriter(
        out, seed=seed, attributes={"env_id": f"import:{Path(path).name}", **attributes}
    ) as writer:
        for source in sources:
            start = 0
            for images in _pieces(source.frames(), episode_length):
                frames = []
                for name, image in images:
                    frame = fit(as_rgb(image, name), image_size, crop, name)
                    shape = shape or frame.shape
                    if frame.shape != shape:
                        raise InputError(
                            f"{name}: {frame.shape[1]} x {frame.shape[0]} pixels, frames before it "
                            f"{shape[1]} x {shape[0]}; "
                            "give --image-size"
                        )
                    frames.append(frame)
                writer.append(_episode(np.stack(frames), source.steps, start, str(path)), source.part)
                start += len(frames)
                done += 1
                if progress:
                    progress(done)
            if not start:
                raise InputError(f"{path}: an episode has no frames; remove it")


def _pieces(frames: Frames, length: int | None) -> Iterator[list[tuple[str, np.ndarray]]]:
    piece = []
    for frame in frames:
        piece.append(frame)
        if len(piece) == length:
            yield piece
            piece = []
    if piece:
        yield piece


def _episode(
    frames: UInt8[np.ndarray, "T H W 3"], steps: dict[str, np.ndarray], start: int, name: str
) -> Episode:
    """Frames from `start` of a source on, with their rows of the steps."""
    rows = {}
    for key, values in steps.items():
        piece = values[start : start + len(frames)].copy()
        if len(piece) < len(frames) - 1:
            raise InputError(
                f"{name}: {len(values)} rows of {key} for {start + len(frames)} frames; give one a frame, "
                "or one fewer"
            )
        if len(piece) < len(frames):
            piece = np.concatenate([piece, np.zeros((1, *values.shape[1:]), values.dtype)])
        piece[-1] = 0  # what leads out of the episode is not known here
        rows[key] = piece
    return Episode(frames, **rows)


def _find(path: str | Path) -> tuple[Iterable[Source], dict[str, Any]]:
    """The episodes under a path, and attributes of the whole."""
    place = Path(path)
    if not place.exists():
        if re.fullmatch(r"([\w.-]+/)*[\w.-]+-v\d+", str(path)):
            return _minari(str(path))
        raise InputError(f"{path}: no such file or folder; expected {LAYOUTS}")
    if place.is_file():
        return _file_sources(place, None), {"fps": fps} if (fps := _fps(place)) else {}
    for storage in (place, place / "data"):
        if (storage / "metadata.json").is_file():
            return _minari(storage)
    parts: list[tuple[Path, Part | None]] = [
        (place / name, part) for name, part in SPLITS.items() if (place / name).is_dir()
    ]
    sources = [s for folder, part in parts or [(place, None)] for s in _folder_sources(folder, part)]
    if not sources:
        raise InputError(f"{place}: no frames or videos found; expected {LAYOUTS}")
    return sources, {}


def _folder_sources(folder: Path, part: Part | None) -> list[Source]:
    children = _children(folder)
    if images := [child for child in children if child.suffix.lower() in IMAGES]:
        return [Source(lambda: ((str(file), _read_image(file)) for file in images), part)]
    files = [child for child in children if child.suffix.lower() in VIDEOS | ARRAYS]
    sources = [source for file in files for source in _file_sources(file, part)]
    if sources:
        return sources
    return [source for child in children if child.is_dir() for source in _folder_sources(child, part)]


def _file_sources(file: Path, part: Part | None) -> list[Source]:
    suffix = file.suffix.lower()
    if suffix in VIDEOS:
        return [Source(lambda: _read_video(file), part)]
    if suffix in ARRAYS:
        return _array_sources(file, part)
    raise InputError(f"{file}: {suffix or 'no suffix'} is not a format read here; expected {LAYOUTS}")


def _children(folder: Path) -> list[Path]:
    """Without hidden ones, numbers in the names in numeric order."""
    return sorted(
        (child for child in folder.iterdir() if not child.name.startswith(".")),
        key=lambda child: [
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in re.split(r"(\d+)", child.name)
            if part
        ],
    )


def _read_image(file: Path) -> np.ndarray:
    image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED) if file.stat().st_size else None
    if image is None:
        raise InputError(f"{file}: not an image, or damaged; repair or remove it")
    if image.ndim == 3 and image.shape[-1] >= 3:
        image = image[..., [2, 1, 0, *range(3, image.shape[-1])]]  # OpenCV reads BGR
    return image


def _read_video(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    options = {"plugin": "pillow", "mode": "RGB"} if file.suffix.lower() == ".gif" else {"plugin": "FFMPEG"}
    count = 0
    try:
        for count, frame in enumerate(iio.imiter(file, **options), 1):
            yield f"{file}, frame {count - 1}", frame
    except (OSError, RuntimeError, ValueError, IndexError, SyntaxError, StopIteration) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{file}: cannot be read as a video beyond frame {count}; check that it plays"
        ) from error
    if not count:
        raise InputError(f"{file}: a video without frames; check that it plays")


def _fps(file: Path) -> float | None:
    """Frames a second, where the file says."""
    try:
        if file.suffix.lower() == ".gif":
            milliseconds = iio.immeta(file, plugin="pillow").get("duration")
            return 1000 / milliseconds if milliseconds else None
        if file.suffix.lower() in VIDEOS:
            return iio.immeta(file, plugin="FFMPEG").get("fps")
    except (OSError, RuntimeError, ValueError, IndexError, SyntaxError, StopIteration) as error:
        raise InputError(f"{file}: not a video, or damaged; check that it plays") from error
    return None


def _array_sources(file: Path, part: Part | None) -> list[Source]:
    try:
        # Unpickling would run code of whoever wrote the file.
        loaded = np.load(file, mmap_mode="r" if file.suffix.lower() == ".npy" else None, allow_pickle=False)
        arrays = (
            {"frames": loaded}
            if isinstance(loaded, np.ndarray)
            else {key: loaded[key] for key in loaded.files}
        )
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{file}: not a {file.suffix} file of numbers, or damaged; save it again with numpy"
        ) from error
    key = next((key for key in FRAME_KEYS if key in arrays), None)
    if key is None:
        raise InputError(
            f"{file}: holds {', '.join(arrays) or 'nothing'}; name the images `frames`, (T, H, W, 3) uint8"
        )
    frames, steps = arrays[key], {}
    for name, keys in STEP_KEYS.items():
        if found := next((key for key in keys if key in arrays), None):
            steps[name] = arrays[found]
    if frames.ndim not in (4, 5) or 0 in frames.shape:
        raise InputError(
            f"{file}: {key} of shape {frames.shape}; (T, H, W, 3) or (E, T, H, W, 3) is expected"
        )
    if frames.ndim == 5:
        return [
            _array_source(file, frames[i], {name: values[i] for name, values in steps.items()}, part)
            for i in range(len(frames))
        ]
    ends = arrays.get("episode_ends", np.array([len(frames)])).tolist()
    if sorted({0, *ends}) != [0, *ends] or ends[-1] != len(frames):
        raise InputError(f"{file}: episode_ends must rise to the number of frames, {len(frames)}")
    return [
        _array_source(
            file, frames[start:end], {name: values[start:end] for name, values in steps.items()}, part
        )
        for start, end in zip([0, *ends], ends, strict=False)
    ]


def _array_source(file: Path, frames: np.ndarray, steps: dict[str, np.ndarray], part: Part | None) -> Source:
    steps = {
        name: values[:, None] if name == "actions" and values.ndim == 1 else values
        for name, values in steps.items()
    }
    return Source(lambda: ((f"{file}, frame {i}", frame) for i, frame in enumerate(frames)), part, steps)


def _minari(place: str | Path) -> tuple[Iterable[Source], dict[str, Any]]:
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

    def sources() -> Iterator[Source]:
        for episode in data.iterate_episodes():
            images = episode.observations
            for name in key:
                images = images[name]
            actions = [
                gym.spaces.flatten(data.action_space, a) for a in _rows(episode.actions, len(episode.rewards))
            ]
            steps = {
                "actions": np.array(actions, np.float32),
                "rewards": np.asarray(episode.rewards),
                "terminated": np.asarray(episode.terminations, bool),
                "truncated": np.asarray(episode.truncations, bool),
            }
            named = [(f"{place}, episode {episode.id}, frame {i}", image) for i, image in enumerate(images)]
            yield Source(lambda named=named: named, None, steps)

    return sources(), {"minari_id": data.spec.dataset_id}


def _rows(values: Any, length: int) -> list[Any]:
    """Minari's batched actions (arrays, or dicts and tuples of arrays) one by one."""
    if isinstance(values, dict):
        columns = {key: _rows(value, length) for key, value in values.items()}
        return [{key: rows[i] for key, rows in columns.items()} for i in range(length)]
    if isinstance(values, tuple):
        return list(zip(*(_rows(v, length) for v in values), strict=True))
    return list(values)
