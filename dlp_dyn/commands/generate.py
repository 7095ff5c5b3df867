"""`generate`: videos or samples out of nothing."""

import argparse

from dlp_dyn.commands.arguments import add_device, device, frame_range, many, seed


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "run_folder",
        metavar="RUN",
        help="the run of a generator (balls_generation) or of a Soft-IntroVAE (soft_intro_2d, ...)",
    )
    sub.add_argument("--out", required=True, help="X.gif, X.webp or X.mp4; samples: X.png")
    sub.add_argument("--n", type=many, default=4, help="videos or samples (default: 4)")
    sub.add_argument(
        "--between",
        metavar="FILE",
        help="of a Soft-IntroVAE: ways between n pairs of a rollout file's test frames",
    )
    sub.add_argument(
        "--fill",
        metavar="FILE",
        help="of a generator: fill a gap in clips of n test episodes of a rollout file",
    )
    sub.add_argument(
        "--missing", type=frame_range, metavar="A:B", help="the gap: frames A to before B, counted from 0"
    )
    sub.add_argument(
        "--translate",
        metavar="FILE",
        help="of a soft_intro_translation: n test frames of a rollout file in the classes of n others",
    )
    sub.add_argument(
        "--mix",
        metavar="FILE",
        help="of a soft_intro_style: n test frames of a rollout file with the finer styles of n others",
    )
    sub.add_argument(
        "--first",
        type=int,
        metavar="K",
        help="of --mix: the finer styles are those from this one on, of two a side (default: the finer half)",
    )
    sub.add_argument("--frames", type=many, default=40, help="of each (default: 40)")
    sub.add_argument("--steps", type=many, help="of diffusion: fewer take less time (default: all)")
    sub.add_argument("--eta", type=float, default=1.0, help="noise in every step, 0 to 1 (default: 1)")
    sub.add_argument("--seed", type=seed, default=0, help="(default: 0)")
    add_device(sub)


def run(args: argparse.Namespace) -> None:
    """Draw videos that a generator makes up, or samples of a Soft-IntroVAE."""
    from dlp_dyn.errors import InputError
    from dlp_dyn.generate import (
        draw_between,
        draw_filled,
        draw_generated,
        draw_mixed,
        draw_samples,
        draw_translated,
    )
    from dlp_dyn.soft_intro.families import is_intro

    if (args.fill is None) != (args.missing is None):
        raise InputError(
            "--fill and --missing belong together: give a file and the frames of it that are to be filled"
        )
    if args.fill is not None:
        draw_filled(
            args.run_folder,
            args.fill,
            args.out,
            args.missing,
            args.n,
            args.steps,
            seed=args.seed,
            device=device(args.device),
        )
    elif args.between is not None:
        draw_between(args.run_folder, args.between, args.out, args.n, device=device(args.device))
    elif args.translate is not None:
        draw_translated(args.run_folder, args.translate, args.out, args.n, device=device(args.device))
    elif args.mix is not None:
        draw_mixed(args.run_folder, args.mix, args.out, args.first, args.n, device=device(args.device))
    elif is_intro(args.run_folder):
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
