"""`train`: from a config, or on with a run."""

import argparse
from pathlib import Path


def train(args: argparse.Namespace) -> None:
    """Train from a config, or go on with a run."""
    from dlp_dyn import config
    from dlp_dyn.settings import split_words

    name, overrides = split_words(args.config, args.resume)
    from dlp_dyn.training.loop import resume, train  # loads torch, which takes seconds

    run = resume(Path(args.resume), overrides) if args.resume else train(config.load(name, overrides))
    print(f"run folder: {run}")
