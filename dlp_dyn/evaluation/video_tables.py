"""What was measured of a video model, as tables for the terminal."""

from rich.table import Table

from dlp_dyn.evaluation.motion_statistics import TOLERANCE
from dlp_dyn.evaluation.video_report import Figures, VideoReport

_STEPS = (1, 5, 10, 20)  # that the short table shows, and the last
_SHORT = {
    "error_step_10": "step_10", "psnr_moving": "moving", "objects_right": "right", "speed_std": "std",
    "speed_distance": "W1", "energy_drift": "drift", "energy_drift_std": "std",
}  # fmt: skip


def accuracy(report: VideoReport, title: str) -> Table:
    """Pictures and positions over the whole horizon."""
    against = "true positions" if report.reference == "truth" else "particles of the frames to be predicted"
    caption = (
        f"{report.episodes} episodes, {report.context} frames seen, {report.horizon} predicted; psnr of all pixels and "
        f"of those that moved, dB; error against {against}, its sum over ten steps (med_10) and at step 10: image "
        "sides; lost: share"
    )
    return _table(report.overall, "prediction", title, caption)


def motion(report: VideoReport) -> Table:
    """What has to hold where prediction cannot be right any more."""
    first = report.horizon // 2 + 1
    caption = (
        f"objects, and share of frames with the number of {report.reference}; overlaps: share of frames with two "
        f"nearer than {1 - TOLERANCE:g} diameters; speed: px a frame, W1: Wasserstein distance from the speeds of "
        f"{report.reference}; energy: sum of half the squared speeds; drift: its change since the first half"
    )
    return _table(report.motion, "motion", f"steps {first} to {report.horizon}", caption)


def over_time(report: VideoReport, side: int, title: str) -> Table:
    """The short one: how position errors, in pixels of images of `side`, grow over the predicted steps."""
    steps = [step for step in _STEPS if step < report.horizon] + [report.horizon]
    there = report.motion[report.reference]["objects"]
    against = "truth" if report.reference == "truth" else "the particles that the model finds there"
    clips = "1 clip" if report.episodes == 1 else f"{report.episodes} clips"
    caption = (
        f"{clips}, {report.context} frames seen, {report.horizon} predicted. Pixels from {against} at "
        "so many steps; med_10: sum over ten steps, in image sides; psnr: dB, all steps; objects: visible ones, second "
        f"half of the steps ({there:.3g} is right); constant velocity: straight on from what was seen"
        + (", or from the true state" if report.reference == "truth" else "")
    )
    table = Table(title=title, caption=caption)
    table.add_column("prediction", no_wrap=True)
    for name in (*(f"step {step}" for step in steps), "med_10", "psnr", "objects"):
        table.add_column(name, justify="right", no_wrap=True)
    for method, row in report.overall.items():
        if method == "tracking":
            continue
        errors = [report.per_step[method]["error"][step - 1] for step in steps]
        cells = ["-" if error is None else f"{error * side:.2f}" for error in errors]
        objects = report.motion.get(method, {}).get("objects")
        for value, form in ((row.get("med_10"), ".3f"), (row.get("psnr"), ".1f"), (objects, ".2f")):
            cells.append("-" if value is None else format(value, form))
        table.add_row(method, *cells)
    return table


def _table(figures: Figures, first: str, title: str, caption: str) -> Table:
    names = list(dict.fromkeys(name for row in figures.values() for name in row))
    table = Table(title=title, caption=caption)
    table.add_column(first, no_wrap=True)
    for name in names:
        table.add_column(_SHORT.get(name, name), justify="right", no_wrap=True)
    for method, row in figures.items():
        table.add_row(method, *(f"{row[name]:.4g}" if name in row else "-" for name in names))
    return table
