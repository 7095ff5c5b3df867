"""`track`: the particles of episodes in files that other tools read."""

import argparse
from pathlib import Path

from dlp_dyn.commands.arguments import add_device, add_part, device, whole


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run_folder", metavar="RUN", help="a run folder or a checkpoint folder, with dynamics")
    sub.add_argument("--data", required=True, help="rollout file, or a folder of them")
    sub.add_argument(
        "--format",
        choices=("coco", "mot", "rerun"),
        default="coco",
        help="JSON, texts or .rrd (default: coco)",
    )
    sub.add_argument("--out", required=True, help="file to write; of mot a folder")
    add_part(sub)
    sub.add_argument("--episodes", type=whole, help="the first ones only")
    add_device(sub)


def run(args: argparse.Namespace) -> None:
    """Follow the particles of episodes, and write their boxes and masks."""
    from dlp_dyn.exporting.tracks import track
    from dlp_dyn.progress import track as progress

    with progress("track", None, "episodes") as bar:
        track(
            args.run_folder, args.data, Path(args.out), args.format, args.part, args.episodes,
            device(args.device), bar.reach,
        )  # fmt: skip
    print(args.out)
