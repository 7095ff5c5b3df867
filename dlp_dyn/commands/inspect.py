"""`inspect`: what moves in rollouts, and the settings that follow from it."""

import argparse
import json
from dataclasses import asdict

from dlp_dyn.commands.arguments import add_json
from dlp_dyn.commands.terminal import console


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("data", metavar="FILE", help="rollout file, or a folder of them")
    sub.add_argument("--view", metavar="NAME", help="the camera to look through (default: the first)")
    add_json(sub)


def run(args: argparse.Namespace) -> None:
    """Print what the preset `image` would measure, as a table or as JSON."""
    from rich.table import Table

    from dlp_dyn.data.inspection import inspect_rollouts
    from dlp_dyn.data.rollouts import Rollouts

    found = inspect_rollouts(Rollouts(args.data, args.view))
    figures = asdict(found) | {"glimpse_pixels": found.glimpse_pixels, "n_particles": found.n_particles}
    del figures["reference"]
    if args.json:
        print(json.dumps(figures, indent=2))
        return
    table = Table(title=args.data, caption=found.summary())
    table.add_column("measured")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        several = value if isinstance(value, tuple) else (value,)
        table.add_row(name, "  ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in several))
    console().print(table)
