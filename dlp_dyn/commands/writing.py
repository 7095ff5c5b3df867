"""What verbs that write have in common."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from dlp_dyn.commands.arguments import seed, side
from dlp_dyn.errors import InputError

if TYPE_CHECKING:
    from dlp_dyn.data.images import Crop


def add_writing(sub: argparse.ArgumentParser, image_size: int | None) -> None:
    sub.add_argument("--out", required=True, help="rollout file to write")
    sub.add_argument("--overwrite", action="store_true", help="replace the file where it exists")
    size = f"(default: {image_size or 'as found'})"
    sub.add_argument(
        "--image-size", type=side, default=image_size, help=f"side of the frames in pixels {size}"
    )
    sub.add_argument("--crop", metavar="square|LEFT,TOP,RIGHT,BOTTOM", help="cut this out before resizing")
    sub.add_argument("--seed", type=seed, default=0, help="(default: 0)")


def refuse_source(args: argparse.Namespace) -> None:
    """InputError where a verb would write over a file that it reads."""
    out = vars(args).get("out")
    if not isinstance(out, str) or not os.path.isfile(out):
        return
    for name, value in vars(args).items():
        if (
            name != "out"
            and isinstance(value, str)
            and os.path.exists(value)
            and os.path.samefile(value, out)
        ):
            raise InputError(f"{out}: is read, and would be written over; choose another place")


def refuse_existing(args: argparse.Namespace) -> None:
    if Path(args.out).exists() and not args.overwrite:
        raise InputError(f"{args.out}: exists already; choose another place, or replace it with --overwrite")


def crop(text: str | None) -> "Crop | None":
    if text is None or text == "square":
        return text
    sides = text.split(",")
    if len(sides) != 4 or not all(side.isdecimal() and len(side) < 10 for side in sides):
        raise InputError(f"--crop {text}: give 'square' or LEFT,TOP,RIGHT,BOTTOM in pixels")
    left, top, right, bottom = map(int, sides)
    return left, top, right, bottom
