"""Curves of several video models in one picture, from what `dlp-dyn evaluate --json` printed.

    dlp-dyn evaluate runs/graph --data balls.h5 --horizon 40 --json > graph.json
    dlp-dyn evaluate runs/transformer --data balls.h5 --horizon 40 --json > transformer.json
    python -m benchmarks.curves graph=graph.json transformer=transformer.json --out curves.png

What the models are compared with is taken from the first file.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.curves import Curves, draw_curves, joined


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 bad input (one line on standard error)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.curves", description="Draw several models' curves."
    )
    parser.add_argument("reports", nargs="+", metavar="LABEL=REPORT.json")
    parser.add_argument("--out", required=True, metavar="X.png")
    args = parser.parse_args(argv)
    try:
        labelled = {}
        for word in args.reports:
            label, _, file = word.partition("=")
            labelled[label] = read(Path(file))
        first = next(iter(labelled.values()))
        references = {method: values for method, values in first.items() if method != "model"}
        draw_curves(args.out, {label: curves["model"] for label, curves in labelled.items()} | references)
    except InputError as error:
        print(f"curves: error: {error}", file=sys.stderr)
        return 2
    return 0


def read(file: Path) -> Curves:
    """The curves of a report. Raises InputError for a file that is none."""
    try:
        report = json.loads(file.read_text())
        return joined(report["per_step"], report["motion_per_step"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: not what dlp-dyn evaluate --json prints of a video model ({type(error).__name__}); "
            "write reports as LABEL=REPORT.json"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
