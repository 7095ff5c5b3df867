"""Curves over the predicted steps: pictures of what `evaluate` measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlp_dyn.errors import InputError
from dlp_dyn.plotting import pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# method -> figure -> a value a step, None where it is unknown
Curves = Mapping[str, Mapping[str, Sequence[float | None]]]
REFERENCES = ("last frame", "constant velocity", "true constant velocity", "tracking", "truth")


@dataclass(frozen=True)
class _Panel:
    """How a figure is drawn. least: where a logarithmic axis begins, a linear one is endless."""

    title: str
    unit: str
    least: float = -math.inf


# What is drawn, in this order, where it is known.
_PANELS = {
    "error": _Panel("position error", "image sides", 1e-4),
    "psnr": _Panel("pictures", "PSNR, dB"),
    "psnr_moving": _Panel("pixels that moved", "PSNR, dB"),
    "lost": _Panel("objects lost", "share"),
    "overlaps": _Panel("objects inside each other", "share of frames"),
    "energy": _Panel("kinetic energy, mass 1", "pixels² / frame²"),
}
_COLUMNS, _WIDTH, _HEIGHT, _DPI = 3, 4.4, 3.3, 110


def check_plot(path: str | Path) -> None:
    """Raise InputError for a name that no picture can be written to."""
    if Path(path).suffix != ".png":
        raise InputError(f"{path}: curves are drawn as .png; rename it")


def joined(*parts: Curves) -> Curves:
    """All figures of each method."""
    methods = dict.fromkeys(method for part in parts for method in part)
    return {m: {k: v for part in parts for k, v in part.get(m, {}).items()} for m in methods}


def draw_curves(path: str | Path, curves: Curves) -> None:
    """One panel a figure, one line a method, against the predicted step; a PNG.

    Methods keep their colour from panel to panel; references are dashed.
    Raises InputError when nothing is known or the file cannot be written.
    """
    from matplotlib.figure import Figure  # takes a second to import

    check_plot(path)
    names = [name for name in _PANELS if any(name in figures for figures in curves.values())]
    if not names:
        raise InputError(f"{path}: nothing to draw; known are {', '.join(_PANELS)}")
    rows, columns = -(-len(names) // _COLUMNS), min(len(names), _COLUMNS)
    figure = Figure((_WIDTH * columns, _HEIGHT * rows + 0.4), dpi=_DPI, layout="constrained")
    lines = {}
    for i, name in enumerate(names):
        axes, panel = figure.add_subplot(rows, columns, i + 1), _PANELS[name]
        for colour, (method, figures) in enumerate(curves.items()):
            if name in figures:
                values = np.array([np.nan if v is None else v for v in figures[name]], float)
                style = "--" if method in REFERENCES else "-"
                steps = np.arange(1, len(values) + 1)
                (lines[method],) = axes.plot(steps, values.clip(panel.least), style, color=f"C{colour}")
        axes.set(title=panel.title, xlabel="predicted step, frames", ylabel=panel.unit)
        if math.isfinite(panel.least):
            axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.margins(x=0.02)
    shown = [method for method in curves if method in lines]
    figure.legend(
        [lines[m] for m in shown], shown, loc="outside lower center", ncols=min(len(shown), 8), frameon=False
    )
    write_figure(path, figure)


def write_figure(path: str | Path, figure: "Figure") -> None:
    """A PNG, without a screen. Raises InputError when it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pictures.write_image(path, np.asarray(canvas.buffer_rgba())[..., :3].copy())
