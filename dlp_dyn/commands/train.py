"""`train`: from a config, or on with a run."""

import argparse
from pathlib import Path

from dlp_dyn.errors import InputError


def train(args: argparse.Namespace) -> None:
    """Train from a config, or go on with a run."""
    names = [text for text in args.config if "=" not in text]
    overrides = [text for text in args.config if "=" in text]
    if args.resume and names:
        raise InputError(f"--resume goes on with the config in {args.resume}; leave '{names[0]}' out")
    if not args.resume and len(names) != 1:
        raise InputError(
            f"train takes one CONFIG and key=value overrides; found {' '.join(names) or 'no CONFIG'}"
        )

    from dlp_dyn import config
    from dlp_dyn.train import resume, train

    run = resume(Path(args.resume), overrides) if args.resume else train(config.load(names[0], overrides))
    print(f"run folder: {run}")
