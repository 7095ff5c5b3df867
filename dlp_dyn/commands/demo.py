"""`demo`: watch particles predict a video, or plan, with a model that comes with the package or with a run."""

import argparse

from dlp_dyn.commands.arguments import add_device, add_part, device, many, whole
from dlp_dyn.commands.terminal import console

PLAN = "plan"
DRAWN = 3  # clips in the picture; the table is of all
NEXT = """
{out}: seen (green) and predicted (red) frames beside what happened. Next:

  move a particle with the mouse and watch the future change
    dlp-dyn view{shown}
  other models that come along
    dlp-dyn demo --list
  train an image model from nothing, on balls drawn for it, in ten minutes
    dlp-dyn train balls
  or on your own videos
    dlp-dyn import my_videos/ --out mine.h5 --image-size 64
    dlp-dyn train image data.path=mine.h5 out=runs/mine"""


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "run_folder",
        metavar="NAME",
        nargs="?",
        default="balls",
        help="balls, push, pusht or plan (see --list), or another run with dynamics (default: balls)",
    )
    sub.add_argument("--list", action="store_true", help="say what comes along, and end")
    sub.add_argument(
        "--data",
        help="rollout file or folder of them (default: the run's own clips, or its training data)",
    )
    sub.add_argument("--out", help="X.gif, X.webp or X.mp4 (default: predicted.gif; plan: planned.gif)")
    sub.add_argument("--context", type=whole, default=10, help="frames that are seen (default: 10)")
    sub.add_argument("--horizon", type=many, default=40, help="frames to predict (default: 40)")
    sub.add_argument(
        "--episodes", type=whole, help="that are measured; of plan: problems (default: 8; plan: 4)"
    )
    add_part(sub)
    add_device(sub)


def run(args: argparse.Namespace) -> None:
    """Draw and measure predictions of held-out clips, or plans, and say what may come next."""
    if args.list:
        _list()
    elif args.run_folder == PLAN:
        from dlp_dyn.commands import demo_plan

        demo_plan.run(args.out or "planned.gif", 4 if args.episodes is None else args.episodes)
    else:
        _predict(args, args.out or "predicted.gif", 8 if args.episodes is None else args.episodes)


def _list() -> None:
    from rich.table import Table

    from dlp_dyn.bundled import MODELS

    table = Table(caption="dlp-dyn demo NAME; a model's name stands for it in all other commands too")
    for head in ("name", "what there is to see", "size"):
        table.add_column(head, no_wrap=head != "what there is to see")
    for name, model in MODELS.items():
        bytes = sum(file.stat().st_size for file in model.folder.iterdir())
        table.add_row(name, model.about, f"{bytes / 1e6:.1f} MB")
    table.add_row(PLAN, "push, which plans: a square to its place in a goal picture", "")
    console().print(table)


def _predict(args: argparse.Namespace, out: str, episodes: int) -> None:
    from dlp_dyn.bundled import MODELS
    from dlp_dyn.data.rollouts import Rollouts
    from dlp_dyn.evaluation import video_tables
    from dlp_dyn.evaluation.video import evaluate_video
    from dlp_dyn.predict import check_out, predict
    from dlp_dyn.progress import track
    from dlp_dyn.sharing.locate import resolve
    from dlp_dyn.viewer.run_data import data_of

    check_out(out)
    run = args.run_folder
    along = {model.folder: model.title for model in MODELS.values()}.get(resolve(run))
    data = args.data or data_of(run)
    on = device(args.device)
    rollouts, drawn = Rollouts(data), min(episodes, DRAWN)
    with track("measure", len(rollouts.part(args.part)[:episodes]), "clips") as bar:
        report = evaluate_video(
            run,
            data,
            args.part,
            args.context,
            args.horizon,
            device=on,
            max_episodes=episodes,
            progress=bar.reach,
        )
    predict(run, data, out, args.context, args.horizon, 0, drawn, args.part, device=on)
    name = f"{along}, a model that comes with dlp_dyn" if along else run
    console().print(video_tables.over_time(report, rollouts.image_size[0], f"{name}: held-out clips"))
    shown = "" if run == "balls" else f" {run}"
    shown += f" --data {args.data}" if args.data else ""
    print(NEXT.format(out=out, shown=shown))
