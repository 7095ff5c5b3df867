"""`evaluate`: how good a model is, as tables or as JSON."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from dlp_dyn.commands.arguments import add_device, add_json, add_part, device, many, seed, whole
from dlp_dyn.commands.terminal import console
from dlp_dyn.errors import InputError

if TYPE_CHECKING:
    from dlp_dyn.evaluation.images import Report


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "run_folder", metavar="RUN", help="a run folder (its best checkpoint) or a checkpoint folder"
    )
    sub.add_argument("--data", required=True, help="rollout file, or a folder of them")
    add_part(sub)
    sub.add_argument("--episodes", type=whole, help="look at the first ones only")
    sub.add_argument(
        "--strangers",
        metavar="FILE",
        help="not of video models: how well novelty tells the frames of another rollout file from those of --data",
    )
    sub.add_argument(
        "--lpips", action="store_true", help="perceptual distance too; fetches AlexNet's weights"
    )
    add_device(sub)
    sub.add_argument(
        "--context", type=whole, default=10, help="video models: frames that are seen (default: 10)"
    )
    sub.add_argument(
        "--horizon", type=many, help="video models: frames to predict (default: all that follow)"
    )
    sub.add_argument(
        "--fvd",
        metavar="FILE",
        help="video models: Frechet video distance with this TorchScript network (I3D)",
    )
    sub.add_argument("--plot", metavar="X.png", help="video models: draw error and PSNR per predicted step")
    sub.add_argument(
        "--seed", type=seed, default=0, help="video models: of which episodes swap their actions (default: 0)"
    )
    add_json(sub)


def run(args: argparse.Namespace) -> None:
    """Print how good a model is, as a table or as JSON."""
    from dlp_dyn.checkpoint import has_dynamics, resolve
    from dlp_dyn.evaluation.images import Report, evaluate
    from dlp_dyn.evaluation.novelty import evaluate_intro, strangers_auroc
    from dlp_dyn.progress import track
    from dlp_dyn.soft_intro.families import is_intro

    checkpoint = resolve(args.run_folder)
    if has_dynamics(checkpoint):
        if args.strangers:
            raise InputError(f"--strangers: {checkpoint} is a video model; give the run of its image model")
        _evaluate_video(args, checkpoint)
        return
    for flag, value in (("--plot", args.plot), ("--fvd", args.fvd)):
        if value:
            raise InputError(
                f"{flag}: {checkpoint} is a model of single images, it predicts nothing; leave it out"
            )
    where = device(args.device)
    if is_intro(checkpoint):
        for flag, value in (("--lpips", args.lpips), ("--episodes", args.episodes)):
            if value:
                raise InputError(
                    f"{flag}: not of a Soft-IntroVAE, of which 500 frames are looked at; leave it out"
                )
        report = Report(evaluate_intro(checkpoint, args.data, args.part, where), {})
    else:
        with track("evaluate", None, "episodes") as bar:
            report = evaluate(checkpoint, args.data, args.part, args.lpips, where, args.episodes, bar.reach)
    if args.strangers:
        report.overall["novelty_auroc"] = strangers_auroc(
            checkpoint, args.data, args.strangers, args.part, where
        )
    if args.json:
        answer = {
            "checkpoint": str(checkpoint),
            "data": args.data,
            "part": args.part,
            "overall": report.overall,
        }
        print(json.dumps(answer | {"by_objects": report.by_objects}, indent=2))
    else:
        _print_table(report, f"{checkpoint} on the {args.part} part of {args.data}")


def _evaluate_video(args: argparse.Namespace, checkpoint: Path) -> None:
    from dlp_dyn.evaluation import curves, video_tables
    from dlp_dyn.evaluation.video import evaluate_video
    from dlp_dyn.progress import track

    if args.plot:
        curves.check_plot(args.plot)
    with track("evaluate", None, "episodes") as bar:
        report = evaluate_video(
            checkpoint,
            args.data,
            args.part,
            args.context,
            args.horizon,
            args.lpips,
            device(args.device),
            args.episodes,
            bar.reach,
            args.fvd,
            args.seed,
        )
    if args.plot:
        curves.draw_curves(args.plot, curves.joined(report.per_step, report.motion_per_step))
    if args.json:
        answer = {"checkpoint": str(checkpoint), "data": args.data, "part": args.part}
        print(json.dumps(answer | dataclasses.asdict(report), indent=2))
        return
    title = f"{checkpoint} on the {args.part} part of {args.data}"
    for table in (video_tables.accuracy(report, title), video_tables.motion(report)):
        console().print(table)


def _print_table(report: "Report", title: str) -> None:
    from rich.table import Table

    short = {"particles_on": "on", "position_error_px": "error px"}
    table = Table(title=title, caption="objects: frames with so many visible ones; on: particles that are on")
    table.add_column("objects", no_wrap=True)
    for name in report.overall:
        table.add_column(short.get(name, name), justify="right", no_wrap=True)
    rows = {"any": report.overall} | {str(n): row for n, row in report.by_objects.items()}
    for label, row in rows.items():
        table.add_row(label, *(f"{row[name]:.4g}" if name in row else "-" for name in report.overall))
    console().print(table)
