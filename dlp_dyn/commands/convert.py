"""`convert`: official checkpoints to run folders."""

import argparse
from pathlib import Path


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("checkpoint", metavar="CKPT", help="official state_dict file")
    sub.add_argument("--hparams", required=True, help="its hparams.json")
    sub.add_argument("--out", required=True, help="run folder to write")


def run(args: argparse.Namespace) -> None:
    """Turn an official checkpoint into a run folder."""
    from dlp_dyn.official import convert

    convert(Path(args.checkpoint), Path(args.hparams), Path(args.out))
    print(f"run folder: {args.out}")
