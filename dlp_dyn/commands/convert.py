"""`convert`: official checkpoints to run folders."""

import argparse
from pathlib import Path


def convert(args: argparse.Namespace) -> None:
    """Turn an official checkpoint into a run folder."""
    from dlp_dyn.official import convert

    convert(Path(args.checkpoint), Path(args.hparams), Path(args.out))
    print(f"run folder: {args.out}")
