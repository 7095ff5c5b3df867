"""What was measured of a video model, as tables for the terminal."""

from rich.table import Table

from dlp_dyn.evaluation.motion_statistics import TOLERANCE
from dlp_dyn.evaluation.video_report import Figures, VideoReport

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


def _table(figures: Figures, first: str, title: str, caption: str) -> Table:
    names = list(dict.fromkeys(name for row in figures.values() for name in row))
    table = Table(title=title, caption=caption)
    table.add_column(first, no_wrap=True)
    for name in names:
        table.add_column(_SHORT.get(name, name), justify="right", no_wrap=True)
    for method, row in figures.items():
        table.add_row(method, *(f"{row[name]:.4g}" if name in row else "-" for name in names))
    return table
