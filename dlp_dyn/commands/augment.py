"""`augment`: edits of particles as data."""

import argparse
from collections import Counter

from dlp_dyn.commands.arguments import device
from dlp_dyn.errors import InputError


def augment(args: argparse.Namespace) -> None:
    """Write edited rollouts, and say how many there are of each kind."""
    from pathlib import Path

    from dlp_dyn.data.rollouts import Rollouts
    from dlp_dyn.exporting.augment import augment
    from dlp_dyn.progress import track

    if Path(args.out).exists() and not args.overwrite:
        raise InputError(f"{args.out}: exists already; give another name or --overwrite")
    kinds = args.edits.split(",")
    n = len(Rollouts(args.data).part(args.part)[: args.episodes])
    with track("edit", n, "episodes") as bar:
        edits = augment(
            args.data, args.out, args.run_folder, kinds, args.part, args.episodes, args.seed,
            device(args.device), bar.reach,
        )  # fmt: skip
    counts = Counter(edit.kind or "left as they were" for edit in edits)
    print(f"{args.out}: {len(edits)} episodes: {', '.join(f'{n} {kind}' for kind, n in counts.items())}")
