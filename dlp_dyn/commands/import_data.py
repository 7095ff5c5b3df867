"""`import`: rollout files from what others have made."""

import argparse

from dlp_dyn.commands.arguments import whole
from dlp_dyn.commands.writing import add_writing, crop, refuse_existing
from dlp_dyn.errors import InputError


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("path", metavar="PATH", help="folder, file, or Minari id")
    sub.add_argument(
        "--episode-length", type=whole, help="cut longer episodes into chunks of this many frames"
    )
    sub.add_argument(
        "--fps", help="frames a second to take from films, or all: each once, at whatever time it comes"
    )
    sub.add_argument(
        "--series", metavar="PATTERN",
        help='of a folder with several: "rgba_*.png", or each for an episode a series; of an array file: its name',
    )  # fmt: skip
    sub.add_argument(
        "--masks", metavar="NAME",
        help='folder beside frames or films with a picture a frame that numbers the things, or a pattern: "mask_*.png"',
    )  # fmt: skip
    sub.add_argument(
        "--bits", type=whole, choices=(10, 12, 14, 16), help="that the camera of 16-bit pictures has"
    )
    sub.add_argument("--camera", metavar="NAME", help="the one to read of several (default: all, as views)")
    sub.add_argument("--allow-damaged", action="store_true", help="read what is left of damaged films")
    add_writing(sub, image_size=None)


def run(args: argparse.Namespace) -> None:
    """Turn pictures that somebody else made into a rollout file."""
    from dlp_dyn.data.convert import convert
    from dlp_dyn.data.readers import Choices
    from dlp_dyn.progress import track

    refuse_existing(args)
    fps = _fps(args.fps)
    with track("import", None, "episodes") as bar:
        convert(
            args.path,
            args.out,
            image_size=args.image_size,
            crop=crop(args.crop),
            episode_length=args.episode_length,
            choices=Choices(
                fps, args.bits, args.series, args.allow_damaged, args.camera, args.masks, bar.say
            ),
            seed=args.seed,
            progress=bar.reach,
        )


def _fps(text: str | None) -> float | str | None:
    if text is None or text == "all":
        return text
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 0 < fps < 100_000:
        raise InputError(f"--fps {text}: give frames a second above 0, or all")
    return fps
