"""What is reported of a video model: clips that were evaluated some at a time, joined."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from dlp_dyn.evaluation.frechet import frechet_distance
from dlp_dyn.evaluation.motion_statistics import compare, motion_curves
from dlp_dyn.evaluation.trajectories import Trajectories, mean_over

_FIRST_STEPS = 10  # that MED-10 sums over

Figures = dict[str, dict[str, float]]  # method -> figure -> value
Steps = dict[str, dict[str, list[float | None]]]  # ... -> a value a predicted step, None where there is none


@dataclass(frozen=True)
class VideoReport:
    """Figures over the horizon, and per predicted step, by method: `model` and what it is compared with.

    psnr, ssim, lpips: of pictures; psnr_moving: of the pixels that have changed since the last context frame (see
    `metrics.psnr_moving`); fvd: Fréchet distance of the predicted clips. error and lost: see `trajectories.follow`;
    a particle belongs to the object that it was matched to in the first predicted frame. med_10: sum of the error over
    the first ten steps (G-SWM), error_step_10: at the tenth; not for a shorter horizon.
    motion: see `motion_statistics.compare`.
    reference: what positions are compared with: `truth`, or where the file has none `tracking`, the particles that the
    same model finds when it is shown the frames that it has to predict.
    """

    overall: Figures
    per_step: Steps
    motion: Figures
    motion_per_step: Steps
    reference: str
    context: int
    horizon: int
    episodes: int


@dataclass(frozen=True)
class ClipScores:
    """Some clips: figures by method and name, motion from the last context frame on, features of the futures."""

    figures: dict[str, dict[str, Float[np.ndarray, "B H"]]]
    motions: dict[str, Trajectories]
    diameter: Float[np.ndarray, " B"] | None = None
    features: dict[str, Float[np.ndarray, "B D"]] = field(default_factory=dict)


def report(evaluated: Sequence[ClipScores], context: int, side: int) -> VideoReport:
    """Means over all clips; a figure that nothing is known of is left out."""
    overall: Figures = {}
    per_step: Steps = {}
    for method, names in evaluated[0].figures.items():
        overall[method], per_step[method] = {}, {}
        for name in names:
            curve = _mean(np.concatenate([j.figures[method][name] for j in evaluated]))
            per_step[method][name] = _steps(curve)
            if np.isnan(curve).all():
                continue
            overall[method][name] = float(np.nanmean(curve))
            if name == "error" and len(curve) >= _FIRST_STEPS and not np.isnan(curve[:_FIRST_STEPS]).any():
                overall[method]["med_10"] = float(curve[:_FIRST_STEPS].sum())
                overall[method]["error_step_10"] = float(curve[_FIRST_STEPS - 1])
    for method in evaluated[0].features.keys() - {"truth"}:
        truth, mine = (np.concatenate([j.features[m] for j in evaluated]) for m in ("truth", method))
        overall[method]["fvd"] = frechet_distance(truth, mine)

    motions = {name: _joined([j.motions[name] for j in evaluated]) for name in evaluated[0].motions}
    known = [j.diameter for j in evaluated if j.diameter is not None]
    diameter = np.concatenate(known) if known else None
    reference = next(iter(motions))
    n_clips, n_frames = motions[reference].visible.shape[:2]
    return VideoReport(
        overall,
        per_step,
        {name: compare(m, motions[reference], side, diameter) for name, m in motions.items()},
        {
            name: {key: _steps(_mean(v)) for key, v in motion_curves(m, side, diameter).items()}
            for name, m in motions.items()
        },
        reference,
        context,
        n_frames - 1,
        n_clips,
    )


def _joined(parts: Sequence[Trajectories]) -> Trajectories:
    return Trajectories(
        np.concatenate([p.position for p in parts]), np.concatenate([p.visible for p in parts])
    )


def _mean(values: Float[np.ndarray, "B H"]) -> Float[np.ndarray, " H"]:
    """Mean over the clips in which it is known; NaN where that is none."""
    return mean_over(np.nan_to_num(values.T), ~np.isnan(values.T))


def _steps(curve: Float[np.ndarray, " H"]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in curve]
