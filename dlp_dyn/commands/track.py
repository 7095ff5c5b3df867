"""`track`: the particles of episodes in files that other tools read."""

import argparse
from pathlib import Path

from dlp_dyn.commands.arguments import device


def track(args: argparse.Namespace) -> None:
    """Follow the particles of episodes, and write their boxes and masks."""
    from dlp_dyn.exporting.tracks import track
    from dlp_dyn.progress import track as progress

    with progress("track", None, "episodes") as bar:
        track(
            args.run_folder, args.data, Path(args.out), args.format, args.part, args.episodes,
            device(args.device), bar.reach,
        )  # fmt: skip
    print(args.out)
