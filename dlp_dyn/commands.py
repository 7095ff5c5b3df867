"""What the verbs of the command line do: check the words, load and call. Each imports only what it needs.

All raise InputError for words that make no sense.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlp_dyn.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from dlp_dyn.data.images import Crop
    from dlp_dyn.evaluation.images import Report

SYNTHETIC_EPISODES = {"balls": (400, 50, 50), "shapes": (40_000, 2_000, 2_000)}


def collect(args: argparse.Namespace) -> None:
    """Play an environment, or draw a synthetic source, into a rollout file."""
    from dlp_dyn.progress import track

    _refuse_existing(args)
    settings = _settings(args.settings)
    if args.env_id in SYNTHETIC_EPISODES:
        counts = _parts(args.episodes) if args.episodes else SYNTHETIC_EPISODES[args.env_id]
        write = _synthetic(args.env_id, settings)
        with track(f"collect {args.env_id}", sum(counts), "episodes") as bar:
            write(
                args.out, counts, image_size=args.image_size, seed=args.seed, progress=bar.reach, **settings
            )
        return

    from dlp_dyn.data.collect import collect

    episodes = _count(args.episodes or "100")
    with track(f"collect {args.env_id}", episodes, "episodes") as bar:
        collect(
            args.env_id,
            args.out,
            episodes=episodes,
            max_steps=args.max_steps,
            image_size=args.image_size,
            crop=_crop(args.crop),
            frame_skip=args.frame_skip,
            policy=args.policy,
            n_envs=args.n_envs,
            seed=args.seed,
            source=args.source,
            env_kwargs=settings,
            progress=bar.reach,
        )


def _synthetic(name: str, settings: dict[str, Any]) -> Callable[..., None]:
    """The writer of a synthetic source, after a look at its settings."""
    from dlp_dyn.data.balls import write_balls
    from dlp_dyn.data.shapes import write_shapes

    known = {"balls": ("length", "n_balls", "radius", "speed", "mode"), "shapes": ()}[name]
    for key in settings:
        if key not in known:
            raise InputError(f"--set {key}: {name} has {', '.join(known) or 'no settings'}; leave it out")
    return {"balls": write_balls, "shapes": write_shapes}[name]


def import_(args: argparse.Namespace) -> None:
    """Turn pictures that somebody else made into a rollout file."""
    from dlp_dyn.data.convert import convert
    from dlp_dyn.progress import track

    _refuse_existing(args)
    with track("import", None, "episodes") as bar:
        convert(
            args.path,
            args.out,
            image_size=args.image_size,
            crop=_crop(args.crop),
            episode_length=args.episode_length,
            seed=args.seed,
            progress=bar.reach,
        )


def train(args: argparse.Namespace) -> None:
    """Train from a config, or go on with a run."""
    names = [text for text in args.config if "=" not in text]
    overrides = [text for text in args.config if "=" in text]
    if args.resume and names:
        raise InputError(f"--resume goes on with the config in {args.resume}; leave '{names[0]}' out")
    if not args.resume and len(names) != 1:
        raise InputError(
            f"train takes one CONFIG and key=value overrides; found {' '.join(names) or 'no CONFIG'}"
        )

    from dlp_dyn import config
    from dlp_dyn.train import resume, train

    run = resume(Path(args.resume), overrides) if args.resume else train(config.load(names[0], overrides))
    print(f"run folder: {run}")


def evaluate(args: argparse.Namespace) -> None:
    """Print how good a model is, as a table or as JSON."""
    from dlp_dyn.checkpoint import has_dynamics, resolve
    from dlp_dyn.evaluation.images import evaluate
    from dlp_dyn.progress import track

    checkpoint = resolve(args.run_folder)
    if has_dynamics(checkpoint):
        _evaluate_video(args, checkpoint)
        return
    for flag, value in (("--plot", args.plot), ("--fvd", args.fvd)):
        if value:
            raise InputError(
                f"{flag}: {checkpoint} is a model of single images, it predicts nothing; leave it out"
            )
    with track("evaluate", None, "episodes") as bar:
        report = evaluate(
            checkpoint,
            args.data,
            args.part,
            args.lpips,
            _device(args.device),
            args.episodes,
            bar.reach,
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
            _device(args.device),
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
        _console().print(table)


def _console() -> "Console":
    """The terminal, or room enough for a table where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=120)


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
    _console().print(table)


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
        _device(args.device),
    )
    print(args.out)


def convert(args: argparse.Namespace) -> None:
    """Turn an official checkpoint into a run folder."""
    from dlp_dyn.official import convert

    convert(Path(args.checkpoint), Path(args.hparams), Path(args.out))
    print(f"run folder: {args.out}")


def bench(args: argparse.Namespace) -> None:
    """Run the benchmarks of a clone of the repository; exits with their exit code."""
    clone = Path(__file__).parents[1]
    if not (clone / "benchmarks" / "bench.py").is_file():
        raise InputError("bench needs a clone of the repository: the benchmarks are not part of the wheel")
    flags = [flag for flag, on in (("--quick", args.quick), ("--json", args.json)) if on]
    command = [sys.executable, "-m", "benchmarks.bench", "--device", args.device, *flags]
    sys.exit(subprocess.run(command, cwd=clone, check=False).returncode)


def _refuse_existing(args: argparse.Namespace) -> None:
    if Path(args.out).exists() and not args.overwrite:
        raise InputError(f"{args.out}: exists already; choose another --out, or replace it with --overwrite")


def _parts(text: str) -> tuple[int, ...]:
    """TRAIN,VALIDATION,TEST, or one number of which a tenth each is for validation and test."""
    counts = tuple(_count(word) for word in text.split(","))
    if len(counts) == 3:
        return counts
    if len(counts) != 1 or counts[0] < 3:
        raise InputError(f"--episodes {text}: give one number (3 or more) or TRAIN,VALIDATION,TEST")
    tenth = max(counts[0] // 10, 1)
    return counts[0] - 2 * tenth, tenth, tenth


def _crop(text: str | None) -> "Crop | None":
    if text is None or text == "square":
        return text
    sides = text.split(",")
    if len(sides) != 4 or not all(side.isdecimal() for side in sides):
        raise InputError(f"--crop {text}: give 'square' or LEFT,TOP,RIGHT,BOTTOM in pixels")
    left, top, right, bottom = map(int, sides)
    return left, top, right, bottom


def _count(text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"--episodes {text}: '{text}' is not a number of episodes")
    return int(text)


def _device(name: str) -> str:
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts that it has it
        reason = str(error).splitlines()[0]
        raise InputError(f"--device {name}: torch cannot use it here ({reason}); give cpu") from error
    return name


def _settings(words: Sequence[str]) -> dict[str, Any]:
    import yaml

    settings = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise InputError(f"--set {word}: write it as key=value")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set {word}: the value is not readable as YAML") from None
    return settings
