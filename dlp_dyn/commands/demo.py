"""`demo`: watch particles predict a video, with the model that comes with the package or with a run."""

import argparse

from dlp_dyn.commands.arguments import add_device, add_part, device, whole
from dlp_dyn.commands.terminal import console

DRAWN = 3  # clips in the picture; the table is of all
NEXT = """
{out}: seen (green) and predicted (red) frames beside what happened. Next:

  move a particle with the mouse and watch the future change
    dlp-dyn view{shown}
  train an image model from nothing, on balls drawn for it, in ten minutes
    dlp-dyn train balls
  or on your own videos
    dlp-dyn import my_videos/ --out mine.h5 --image-size 64
    dlp-dyn train image data.path=mine.h5 out=runs/mine"""


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "run_folder", metavar="RUN", nargs="?", help="another run, with dynamics (default: Balls, bundled)"
    )
    sub.add_argument(
        "--data",
        help="rollout file or folder of them (default: the run's own clips, or its training data)",
    )
    sub.add_argument("--out", default="predicted.gif", help="X.gif, X.webp or X.mp4 (default: predicted.gif)")
    sub.add_argument("--context", type=whole, default=10, help="frames that are seen (default: 10)")
    sub.add_argument("--horizon", type=whole, default=40, help="frames to predict (default: 40)")
    sub.add_argument("--episodes", type=whole, default=8, help="that are measured (default: 8)")
    add_part(sub)
    add_device(sub)


def run(args: argparse.Namespace) -> None:
    """Draw and measure the prediction of a few held-out clips, and say what may come next."""
    from dlp_dyn.bundled import BALLS
    from dlp_dyn.data.rollouts import Rollouts
    from dlp_dyn.evaluation import video_tables
    from dlp_dyn.evaluation.video import evaluate_video
    from dlp_dyn.predict import check_out, predict
    from dlp_dyn.progress import track
    from dlp_dyn.viewer.run_data import data_of

    check_out(args.out)
    run = args.run_folder or BALLS
    data = args.data or data_of(run)
    on = device(args.device)
    drawn = min(args.episodes, DRAWN)
    with track("measure", args.episodes, "clips") as bar:
        report = evaluate_video(
            run,
            data,
            args.part,
            args.context,
            args.horizon,
            device=on,
            max_episodes=args.episodes,
            progress=bar.reach,
        )
    predict(run, data, args.out, args.context, args.horizon, 0, drawn, args.part, device=on)
    name = args.run_folder or "Balls, the model that comes with dlp_dyn"
    console().print(video_tables.over_time(report, Rollouts(data).image_size[0], f"{name}: held-out clips"))
    shown = [f" {args.run_folder}"] if args.run_folder else []
    shown += [f" --data {args.data}"] if args.data else []
    print(NEXT.format(out=args.out, shown="".join(shown)))
