"""`predict`: pictures of what a video model predicts."""

import argparse

from dlp_dyn.commands.arguments import add_device, add_part, device, many, seed, whole


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run_folder", metavar="RUN", help="a run folder or a checkpoint folder, with dynamics")
    sub.add_argument("--data", required=True, help="rollout file, a folder of them, or a GIF or MP4")
    sub.add_argument("--out", required=True, help="X.gif, X.webp or X.mp4")
    sub.add_argument("--context", type=whole, default=10, help="frames that are seen (default: 10)")
    sub.add_argument("--horizon", type=many, default=50, help="frames to predict (default: 50)")
    sub.add_argument(
        "--samples", type=many, default=0, help="so many random futures instead of the most likely one"
    )
    sub.add_argument("--episodes", type=whole, default=4, help="(default: 4)")
    add_part(sub)
    sub.add_argument("--seed", type=seed, default=0, help="of the random futures (default: 0)")
    sub.add_argument("--goal", metavar="X.png", help="a picture to reach, for models trained with goals")
    sub.add_argument(
        "--text", metavar="X.npy", help="tokens of a text encoder, for models trained with texts"
    )
    sub.add_argument("--replay", metavar="X.mp4", help="a video whose latent actions are replayed here")
    add_device(sub)


def run(args: argparse.Namespace) -> None:
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
