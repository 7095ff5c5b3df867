"""Pictures of many modes and depths, and files of several pages."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.data_trials.trial import Imported, Result, attempt, difference, number, numbered
from dlp_dyn.data.readers import Choices

N = 12


@dataclass(frozen=True)
class Folder:
    """expected: the numbers of each episode's frames; None: a line is wanted. told: a word that has to be said."""

    kind: str
    name: str
    make: Callable[[Path], object]
    expected: Sequence[Sequence[int]] | None = (tuple(range(N)),)
    choices: Choices | None = None
    told: str = ""

    def result(self, place: Path) -> Result:
        root = place / self.name
        root.mkdir()
        path = self.make(root)
        return attempt(
            self.kind, self.name, path if isinstance(path, Path) else root, self.choices, self._judge
        )

    def _judge(self, found: Imported) -> str:
        if self.expected is None:
            return f"read as {[len(e) for e in found.episodes]} frames"
        numbers = [[number(frame) for frame in episode] for episode in found.episodes]
        if numbers != [list(episode) for episode in self.expected]:
            return f"frames {numbers}"
        if self.told not in " ".join(found.told):
            return f"{self.told} is not told"
        first = self.expected[0][0]
        shown = found.episodes[0][0]
        return difference([shown], [numbered(first, *shown.shape[:2])])


def picture(i: int) -> Image.Image:
    return Image.fromarray(numbered(i))


def pages() -> Iterator[Folder]:
    kind = "pages of one file"
    rest = [picture(i) for i in range(1, N)]

    def clip(root: Path, name: str, **options: Any) -> Path:
        picture(0).save(root / name, save_all=True, append_images=rest, **options)
        return root / name

    for name, options in {
        "clip.tif": {},
        "clip.tiff": {"compression": "tiff_lzw"},
        "clip.webp": {"lossless": True, "duration": 50},
        "clip.png": {"duration": 50},
        "clip.apng": {"duration": 50},
        "clip.gif": {"duration": 50},
    }.items():
        yield Folder(kind, name, lambda r, n=name, o=options: clip(r, n, **o))
        many = [range(N)] * 3
        yield Folder(
            kind,
            f"folder_of_{name}",
            lambda r, n=name, o=options: [clip(r, f"{k}_{n}", **o) for k in range(3)] and None,
            many,
        )
    pause = [50, 150, *[50] * (N - 2)]
    yield Folder(
        kind,
        "pause.gif",
        lambda r: clip(r, "a.gif", duration=pause),
        ([0, 1, 1, 1, *range(2, N)],),
        told="longer",
    )
    yield Folder(
        kind, "uneven.gif", lambda r: clip(r, "a.gif", duration=[50 + 37 * (i % 5) for i in range(N)]), None
    )
    yield Grey(kind, "deep.tif", _deep_pages)


def modes() -> Iterator[Folder]:
    kind = "modes and depths"

    def make(
        root: Path, turn: Callable[[Image.Image], Image.Image], suffix: str = "png", **options: Any
    ) -> None:
        for i in range(N):
            turn(picture(i)).save(root / f"{i}.{suffix}", **options)

    for mode, suffix in (("RGBA", "png"), ("CMYK", "tif"), ("YCbCr", "jpg"), ("LAB", "tif")):
        yield Folder(kind, f"{mode}_{suffix}", lambda r, m=mode, s=suffix: make(r, lambda p: p.convert(m), s))
    for suffix in ("png", "gif"):
        yield Folder(kind, f"P_{suffix}", lambda r, s=suffix: make(r, lambda p: p.quantize(255), s))
    yield Folder(kind, "CMYK_jpg", lambda r: make(r, lambda p: p.convert("CMYK"), "jpg", quality=97))
    for name, check in (("1_bit", "1"), ("grey", "L"), ("grey_alpha", "LA")):
        yield Grey(kind, name, lambda r, m=check: make(r, lambda p: p.convert("L").point(_two).convert(m)))
    yield Grey(kind, "16_bit", lambda r: _deep(r, 257, "png"))
    yield Grey(kind, "16_bit_tif", lambda r: _deep(r, 257, "tif"))
    yield Grey(kind, "12_bit", lambda r: _deep(r, 16, "png"), None)
    yield Grey(kind, "12_bit_said", lambda r: _deep(r, 16, "png"), choices=Choices(bits=12))
    yield Grey(kind, "10_bit_said", lambda r: _deep(r, 4, "tif"), choices=Choices(bits=10))
    yield Grey(kind, "16_bit_pgm", lambda r: _deep(r, 257, "pgm"))
    yield Folder(
        kind,
        "16_bit_colour",
        lambda r: (
            [
                cv2.imwrite(str(r / f"{i}.png"), numbered(i)[..., ::-1].astype(np.uint16) * 257)
                for i in range(N)
            ]
            and None
        ),
    )
    yield Folder(
        kind,
        "12_bit_colour",
        lambda r: (
            [
                cv2.imwrite(str(r / f"{i}.png"), numbered(i)[..., ::-1].astype(np.uint16) * 16)
                for i in range(N)
            ]
            and None
        ),
        choices=Choices(bits=12),
    )
    yield Grey(
        kind,
        "float_tif",
        lambda r: (
            [cv2.imwrite(str(r / f"{i}.tif"), (_grey(i) / 255).astype(np.float32)) for i in range(N)] and None
        ),
    )
    yield Clear(kind, "palette_clear", lambda r: make(r, _clear_palette, "png"))
    yield Clear(kind, "palette_clear_gif", lambda r: make(r, _clear_palette, "gif", transparency=0))
    yield Clear(kind, "rgb_clear", lambda r: make(r, lambda p: p, "png", transparency=(30, 60, 220)))
    yield Clear(kind, "rgba_clear", lambda r: make(r, _clear, "png"))


class Grey(Folder):
    """Only numbers are compared: colours are gone."""

    def _judge(self, found: Imported) -> str:
        if self.expected is None:
            return f"read as {[len(e) for e in found.episodes]} frames"
        (frames,) = found.episodes
        wanted = [np.repeat(_grey(i)[..., None], 3, -1) for i in range(N)]
        return difference(frames, wanted)


class Clear(Folder):
    """What cannot be seen is black."""

    def _judge(self, found: Imported) -> str:
        (frames,) = found.episodes
        wanted = [_on_black(i) for i in range(N)]
        return difference(frames, wanted)


def _two(value: int) -> int:
    return 255 if value > 127 else 0


def _grey(i: int) -> np.ndarray:
    return np.asarray(picture(i).convert("L").point(_two))


def _on_black(i: int) -> np.ndarray:
    pixels = numbered(i).copy()
    pixels[: len(pixels) // 6, : len(pixels) // 3] = 0
    return pixels


def _clear(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image.convert("RGBA")).copy()
    pixels[: len(pixels) // 6, : len(pixels) // 3, 3] = 0
    return Image.fromarray(pixels)


def _clear_palette(image: Image.Image) -> Image.Image:
    """Colour 0 of the palette is the corner's, and clear."""
    pixels = np.asarray(image.quantize(255)) + 1
    palette = [30, 60, 220, *(image.quantize(255).getpalette() or [])]
    pixels[: len(pixels) // 6, : len(pixels) // 3] = 0
    out = Image.fromarray(pixels.astype(np.uint8), "P")
    out.putpalette(palette[:768])
    out.info["transparency"] = 0
    return out


def _deep(root: Path, factor: int, suffix: str) -> None:
    for i in range(N):
        cv2.imwrite(str(root / f"{i}.{suffix}"), _grey(i).astype(np.uint16) * factor)


def _deep_pages(root: Path) -> Path:
    images = [Image.fromarray(_grey(i).astype(np.uint16) * 257) for i in range(N)]
    images[0].save(root / "a.tif", save_all=True, append_images=images[1:])
    return root / "a.tif"
