"""Picture folders of many kinds: names, turns, series, masks, parts, links, bombs and broken files."""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.data_trials.pictures import Folder, N, modes, pages, picture
from benchmarks.data_trials.trial import Result, numbered
from dlp_dyn.data.readers import Choices


def save(root: Path, names: Sequence[str], **options: Any) -> None:
    for i, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(file, **options)


def names() -> Iterator[Folder]:
    def kind(name: str, files: Sequence[str]) -> Folder:
        return Folder("names", name, lambda root: save(root, files))

    count = range(N)
    yield kind("plain", [f"{i}.png" for i in count])
    yield kind("from_1", [f"frame{i + 1}.png" for i in count])
    yield kind("padded", [f"img_{i:06d}.png" for i in count])
    yield kind("times", [f"{i / 4:.2f}.png" for i in count])
    yield kind("short_decimals", [f"{i / 4:g}.png" for i in count])
    yield kind("seconds", [f"frame_{i / 4:g}s.png" for i in count])
    yield kind("counted_decimals", [f"1.{i}.png" for i in count])
    yield kind("stamps", [f"1700000000.{i * 33 + 5:03d}.png" for i in count])
    yield kind("nanoseconds", [f"{1700000000000000000 + i * 33_333_333}.png" for i in count])
    yield kind("negative", [f"{i - 6}.png" for i in count])
    yield kind("negative_named", [f"t_{i - 6}.png" for i in count])
    yield kind("negative_decimals", [f"t={(i - 6) / 4:.2f}.png" for i in count])
    yield kind("hyphens", [f"img-{i + 1}.png" for i in count])
    yield kind("hyphens_first", [f"-{i + 1}.png" for i in count])
    yield kind("double_hyphens", [f"run--{i}.png" for i in count])
    yield Folder(
        "names",
        "hexadecimal",
        lambda root: save(root, [f"f{i + 4:02x}.png" for i in range(20)]),
        [[*range(20)]],
    )
    yield kind("raised", [f"1²{i}.png" for i in count])
    yield kind("arabic", [_digits(i, 0x660) + ".png" for i in count])
    yield kind("full_width", [_digits(i, 0xFF10) + ".png" for i in count])
    yield kind("circled", [f"①{i}.png" for i in count])
    yield kind("letters", [f"{'abcdefghijkl'[i]}.png" for i in count])
    yield kind("spaces", [f"frame ({i}).png" for i in count])
    yield kind("capitals", [f"IMG{i}.PNG" for i in count])
    yield kind("mixed_capitals", [f"frame{i}.{'png' if i % 2 else 'PNG'}" for i in count])
    yield kind("emoji", [f"🎥{i}.png" for i in count])
    yield kind("unequal", [f"{i:03d}.png" if i < 5 else f"{i}.png" for i in count])
    yield kind("of_many", [f"scene_3_frame_{i}_of_12.png" for i in count])
    yield kind("dates", [f"2024-01-{i + 1:02d}.png" for i in count])
    yield kind("hours", [f"{9 + i // 6}-{10 * (i % 6)}-00.png" for i in count])


def _digits(i: int, zero: int) -> str:
    return "".join(chr(zero + int(digit)) for digit in str(i))


def turns() -> Iterator[Folder]:
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }

    def make(root: Path, orientation: int, suffix: str, deep: bool = False) -> None:
        tag = Image.Exif()
        tag[0x0112] = orientation
        for i in range(N):
            stored = picture(i) if orientation == 1 else picture(i).transpose(turn[orientation])
            if deep:
                stored = Image.fromarray(np.asarray(stored.convert("L")).astype(np.uint16) * 257)
            options: Any = (
                {"quality": 95} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
            )
            stored.save(root / f"{i}.{suffix}", exif=tag, **options)

    for orientation in range(1, 9):
        yield Folder("EXIF", f"jpg_{orientation}", lambda root, o=orientation: make(root, o, "jpg"))
    for suffix in ("png", "webp", "tif"):
        yield Folder("EXIF", f"{suffix}_6", lambda root, s=suffix: make(root, 6, s))


def series() -> Iterator[Folder]:
    kind = "series, masks, previews, parts"
    count = range(N)

    def two(root: Path, first: str, second: str, mask: bool = False) -> None:
        for i in count:
            save_at(root / first.format(i), numbered(i))
            save_at(root / second.format(i), numbered(i)[..., :1] // 100 if mask else numbered(i + 100))

    left = Choices(series="left_*.png")
    yield Folder(kind, "cameras", lambda r: two(r, "left_{}.png", "right_{}.png"), None)
    yield Folder(kind, "cameras_chosen", lambda r: two(r, "left_{}.png", "right_{}.png"), choices=left)
    each = ([*count], [i + 100 for i in count])
    yield Folder(
        kind, "cameras_each", lambda r: two(r, "left_{}.png", "right_{}.png"), each, Choices(series="each")
    )
    yield Folder(
        kind,
        "kubric",
        lambda r: two(r, "rgba_{:05d}.png", "segmentation_{:05d}.png", True),
        told="segmentation",
    )
    yield Folder(
        kind, "kubric_depth", lambda r: two(r, "rgba_{:05d}.png", "depth_{:05d}.tiff", True), told="depth"
    )
    yield Folder(
        kind,
        "davis",
        lambda r: two(r, "JPEGImages/a/{}.png", "Annotations/a/{}.png", True),
        told="Annotations",
    )
    yield Folder(kind, "masks_below", lambda r: two(r, "{}.png", "masks/{}.png", True), told="masks")
    yield Folder(kind, "mask_suffix", lambda r: two(r, "{}.png", "{}_mask.png", True), told="_mask")
    yield Folder(kind, "twice", lambda r: two(r, "{}.png", "{}.jpg"), None)
    yield Folder(kind, "takes", lambda r: save(r, [f"{a}_{b}.png" for a in range(3) for b in range(4)]), None)
    yield Folder(
        kind,
        "thumbnail",
        lambda r: (save(r, [f"{i}.png" for i in count]), picture(9).save(r / "thumbnail.png")),
        told="thumbnail",
    )
    yield Folder(
        kind,
        "thumbs_of_apple",
        lambda r: (save(r, [f"{i}.png" for i in count]), (r / "._0.png").write_bytes(b"x")),
    )
    yield Folder(
        kind,
        "notes",
        lambda r: (save(r, [f"{i}.png" for i in count]), (r / "readme.txt").write_text("x")),
        told="readme",
    )

    def parts(root: Path, *folders: str) -> None:
        for k, folder in enumerate(folders):
            for i in range(3):
                save_at(root / folder / "a" / f"{i}.png", numbered(3 * k + i))

    three = ([0, 1, 2], [3, 4, 5], [6, 7, 8])
    for folders in (
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("video_train", "video_validation", "video_test"),
        ("TRAINING", "VALIDATION", "TESTING"),
        ("trainset", "valset", "testset"),
        ("train2017", "val2017", "test2017"),
        ("imagesTr_train", "images_dev", "images_eval"),
    ):
        yield Folder(kind, f"parts_{folders[0]}", lambda r, f=folders: parts(r, *f), three, told="validation")
    yield Folder(
        kind, "parts_and_more", lambda r: parts(r, "train", "test", "extra"), three[:2], told="extra"
    )
    yield Folder(kind, "half_a_part", lambda r: parts(r, "train", "scene"), None)
    yield Folder(
        kind,
        "nested",
        lambda r: [
            save_at(r / f"day{d}" / f"take{t}" / f"{i}.png", numbered(6 * d + 3 * t + i))
            for d in range(2)
            for t in range(2)
            for i in range(3)
        ],
        (*three, [9, 10, 11]),
    )
    yield Folder(
        kind,
        "episodes_10",
        lambda r: [save_at(r / f"ep{e}" / "0.png", numbered(e)) for e in range(11)],
        [[e] for e in range(11)],
    )


def links() -> Iterator[Folder]:
    kind = "links, empty, broken, bombs, sizes"

    def frames(root: Path) -> None:
        save(root, [f"a/{i}.png" for i in range(N)])

    yield Folder(kind, "link_to_itself", lambda r: (frames(r), os.symlink(r, r / "again")))
    yield Folder(kind, "link_up", lambda r: (frames(r), os.symlink("..", r / "a" / "up")))
    yield Folder(kind, "link_beside", lambda r: (frames(r), os.symlink("a", r / "b")), told="link")
    yield Folder(
        kind, "link_to_nothing", lambda r: (frames(r), os.symlink("nothing.png", r / "a" / "x.png")), None
    )
    yield Folder(kind, "linked_frames", _linked_frames)
    yield Folder(kind, "empty_folder", lambda _: None, None)
    yield Folder(kind, "empty_episode", lambda r: (frames(r), (r / "b").mkdir()))
    yield Folder(kind, "only_text", lambda r: (r / "a.txt").write_text("x"), None)
    yield Folder(
        kind, "empty_file", lambda r: (save(r, [f"{i}.png" for i in range(N)]), (r / "12.png").touch()), None
    )
    yield Folder(
        kind,
        "text_as_png",
        lambda r: (save(r, [f"{i}.png" for i in range(N)]), (r / "3.png").write_text("no")),
        None,
    )
    for suffix, options in (
        ("png", {}),
        ("jpg", {"quality": 95}),
        ("webp", {"lossless": True}),
        ("tif", {}),
        ("bmp", {}),
        ("gif", {}),
    ):
        for share in (0.3, 0.9):
            yield Folder(
                kind,
                f"cut_{suffix}_{share}",
                lambda r, s=suffix, o=options, c=share: _cut(r, s, c, **o),
                None,
            )
    yield Folder(kind, "jpg_as_png", _wrong_suffix)
    yield Folder(kind, "bomb_png", lambda r: (r / "a.png").write_bytes(_bomb(60_000)), None)
    yield Folder(
        kind, "bomb_pages", lambda r: [(r / f"{i}.png").write_bytes(_bomb(30_000)) for i in range(2)], None
    )
    yield Folder(
        kind,
        "mixed_sizes",
        lambda r: [save_at(r / f"{i}.png", numbered(i, 64 + 8 * i, 64)) for i in range(N)],
    )
    yield Folder(
        kind, "folder_as_png", lambda r: (save(r, [f"{i}.png" for i in range(N)]), (r / "99.png").mkdir())
    )
    yield Folder(
        kind,
        "unreadable_name",
        lambda r: [save_at(r / os.fsdecode(b"\xff%d.png" % i), numbered(i)) for i in range(N)],
    )


def _linked_frames(root: Path) -> Path:
    save(root, [f"store/{i}.png" for i in range(N)])
    (root / "episode").mkdir()
    for i in range(N):
        os.symlink(root / "store" / f"{i}.png", root / "episode" / f"{i}.png")
    return root / "episode"


def _cut(root: Path, suffix: str, share: float, **options: Any) -> None:
    save(root, [f"{i}.{suffix}" for i in range(N)], **options)
    data = (root / f"5.{suffix}").read_bytes()
    (root / f"5.{suffix}").write_bytes(data[: round(share * len(data))])


def _wrong_suffix(root: Path) -> None:
    for i in range(N):
        picture(i).save(root / f"{i}.png", format="JPEG", quality=95)


def _bomb(side: int) -> bytes:
    """A PNG of side x side pixels in a few thousand bytes of its header and first rows."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * (1 << 20))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def save_at(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(file)


def trials(place: Path) -> Iterator[Result]:
    for group in (names, turns, series, links, pages, modes):
        for folder in group():
            yield folder.result(place)
