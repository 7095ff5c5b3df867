"""`export`: a model as files that run without this package."""

import argparse
from pathlib import Path

from dlp_dyn.commands.terminal import console


def arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run_folder", metavar="RUN", help="a run folder or a checkpoint folder")
    sub.add_argument("--format", choices=("onnx", "torch"), default="onnx", help="(default: onnx)")
    sub.add_argument("--out", required=True, metavar="FOLDER", help="for encoder and step, .onnx or .pt2")


def run(args: argparse.Namespace) -> None:
    """Write the encoder and one step of the dynamics, and say how large and how exact they are."""
    from rich.table import Table

    from dlp_dyn.exporting.programs import export

    written = export(args.run_folder, Path(args.out), args.format)
    table = Table("file", "inputs", "MB", "largest difference", title="exported, and run beside the model")
    for one in written:
        inputs = ", ".join(
            f"{name} {('B', *shape[1:])}".replace("'", "") for name, shape in one.inputs.items()
        )
        table.add_row(str(one.file), inputs, f"{one.n_bytes / 1e6:.2f}", f"{one.difference:.0e}")
    console().print(table)
