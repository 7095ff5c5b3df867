"""Success of several agents against environment steps in one picture, from the logs of their run folders.

    python -m benchmarks.learning_curves particles=runs/a,runs/b state=runs/c --out curves.png

Runs behind one label are seeds of one agent: the line is their mean, the band goes from the least to the greatest.
Of a single run the band is the 95% interval over its evaluation episodes.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.curves import check_plot, write_figure

_SIZE, _DPI = (7.0, 4.0), 110


@dataclass(frozen=True)
class LearningCurve:
    """Success in [0, 1] at environment steps, and the band around it."""

    steps: Float[np.ndarray, " K"]
    success: Float[np.ndarray, " K"]
    low: Float[np.ndarray, " K"]
    high: Float[np.ndarray, " K"]


def read(runs: Sequence[Path]) -> LearningCurve:
    """The curve of one agent; of several seeds, at the steps that all have reached.

    Raises InputError for a folder without evaluations, and for seeds that were evaluated at different steps.
    """
    curves = [_read_run(run) for run in runs]
    if len(curves) == 1:
        return curves[0]
    length = min(len(curve.steps) for curve in curves)
    for run, curve in zip(runs, curves, strict=True):
        if not np.array_equal(curve.steps[:length], curves[0].steps[:length]):
            raise InputError(f"{run}: evaluated at other steps than {runs[0]}; give it a label of its own")
    success = np.stack([curve.success[:length] for curve in curves])
    return LearningCurve(curves[0].steps[:length], success.mean(0), success.min(0), success.max(0))


def _read_run(run: Path) -> LearningCurve:
    try:
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{run}: no log of an agent's training ({type(error).__name__})") from error
    names = [f"evaluation/success{end}" for end in ("", "_low", "_high")]
    found = [[row["step"], *(row[name] for name in names)] for row in rows if names[0] in row]
    if not found:
        raise InputError(f"{run}: its log has no success; give runs of agents whose environment tells it")
    return LearningCurve(*np.array(found, float).T)


def draw(path: str | Path, curves: Mapping[str, LearningCurve]) -> None:
    """A PNG. Raises InputError for a name of another kind, and when it cannot be written."""
    from matplotlib.figure import Figure  # takes a second to import

    check_plot(path)
    figure = Figure(_SIZE, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    for label, curve in curves.items():
        (line,) = axes.plot(curve.steps, curve.success, label=label)
        axes.fill_between(curve.steps, curve.low, curve.high, color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set(xlabel="environment steps", ylabel="success", ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.margins(x=0.02)
    figure.legend(loc="outside lower center", ncols=min(len(curves), 3), frameon=False)
    write_figure(path, figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 bad input (one line on standard error)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning_curves", description="Draw several agents' success."
    )
    parser.add_argument("agents", nargs="+", metavar="LABEL=RUN[,RUN]")
    parser.add_argument("--out", required=True, metavar="X.png")
    args = parser.parse_args(argv)
    try:
        curves = {}
        for word in args.agents:
            label, separator, runs = word.partition("=")
            if not separator or not runs:
                raise InputError(f"{word}: write agents as LABEL=RUN or LABEL=RUN,RUN")
            curves[label] = read([Path(run) for run in runs.split(",")])
        draw(args.out, curves)
    except InputError as error:
        print(f"learning_curves: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
