"""`augment`: edits of particles as data."""

import argparse
from collections import Counter

from dlp_dyn.commands.arguments import add_device, add_part, device, seed, whole
from dlp_dyn.errors import InputError


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run_folder", metavar="RUN", help="a run folder or a checkpoint folder, with dynamics")
    sub.add_argument("--data", required=True, help="rollout file, or a folder of them")
    sub.add_argument("--out", required=True, help="rollout file to write")
    sub.add_argument("--overwrite", action="store_true", help="replace the file where it exists")
    sub.add_argument(
        "--edits", default="hide,copy,recolour,swap", help="in turn (default: hide,copy,recolour,swap)"
    )
    sub.add_argument(
        "--originals",
        action="store_true",
        help="write the episodes of all parts as they are too, to train on",
    )
    add_part(sub, "train")
    sub.add_argument("--episodes", type=whole, help="the first ones only")
    sub.add_argument(
        "--seed", type=seed, default=0, help="of which particles, and which colours (default: 0)"
    )
    add_device(sub)


def run(args: argparse.Namespace) -> None:
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
            args.data, args.out, args.run_folder, kinds, args.part, args.episodes, args.seed, args.originals,
            device(args.device), bar.reach,
        )  # fmt: skip
    counts = Counter(edit.kind or "left as they were" for edit in edits)
    beside = " beside the recorded ones" if args.originals else ""
    print(
        f"{args.out}: {len(edits)} episodes{beside}: {', '.join(f'{n} {kind}' for kind, n in counts.items())}"
    )
