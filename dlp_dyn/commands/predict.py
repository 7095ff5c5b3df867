"""`predict`: pictures of what a video model predicts."""

import argparse

from dlp_dyn.commands.arguments import device


def predict(args: argparse.Namespace) -> None:
    """Draw what a video model predicts."""
    from dlp_dyn.predict import predict

    predict(
        args.run_folder,
        args.data,
        args.out,
        args.context,
        args.horizon,
        args.samples,
        args.episodes,
        args.part,
        args.seed,
        device(args.device),
        goal=args.goal,
        text=args.text,
        replay=args.replay,
    )
    print(args.out)
