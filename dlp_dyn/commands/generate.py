"""`generate`: videos or samples out of nothing."""

import argparse

from dlp_dyn.commands.arguments import device


def generate(args: argparse.Namespace) -> None:
    """Draw videos that a generator makes up, or samples of a Soft-IntroVAE."""
    from dlp_dyn.generate import draw_generated, draw_samples, makes_samples

    if makes_samples(args.run_folder):
        draw_samples(args.run_folder, args.out, args.n, args.seed, device(args.device))
    else:
        draw_generated(
            args.run_folder,
            args.out,
            args.n,
            args.frames,
            args.steps,
            args.eta,
            args.seed,
            device(args.device),
        )
    print(args.out)
