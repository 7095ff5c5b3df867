"""`train`: from a config, or on with a run; what configs there are, and what is in one."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "config", nargs="*", metavar="CONFIG [KEY=VALUE ...]", help="name or path, then overrides"
    )
    sub.add_argument("--resume", metavar="RUN", help="resume this run, with its own config")
    sub.add_argument("--list", action="store_true", help="list the configs that come with dlp_dyn")
    sub.add_argument(
        "--show", action="store_true", help="print every value of CONFIG with its range and meaning"
    )


def run(args: argparse.Namespace) -> None:
    """Train from a config, resume a run, or print configs."""
    from dlp_dyn import config
    from dlp_dyn.settings import split_arguments

    if args.list:
        _list()
        return
    name, overrides = split_arguments(args.config, args.resume)
    if args.show:
        _show(name or str(Path(args.resume) / "config.yaml"), overrides)
        return
    from dlp_dyn.training.loop import resume, train  # loads torch, which takes seconds

    run = resume(Path(args.resume), overrides) if args.resume else train(config.load(name, overrides))
    print(f"run folder: {run}")


def _list() -> None:
    from dlp_dyn.settings import names, summary

    for name in names():
        print(f"{name:24} {summary(name)}")


def _show(name: str, overrides: Sequence[str]) -> None:
    from dlp_dyn.config import TrainConfig
    from dlp_dyn.settings import CONFIGS, given
    from dlp_dyn.settings.described import shown

    for setting, value in shown(TrainConfig, given(TrainConfig, CONFIGS, name, overrides)):
        print(f"{setting.key}={value or 'NEEDED'}  # {setting.span}: {setting.effect}")
