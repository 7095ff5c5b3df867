"""What changes in the course of training: DLPv2's first phases, frames and steps that come in one by one, ramps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlp_dyn.image.encoder import STANDARD, EncodeOptions
from dlp_dyn.objectives.config import ScheduleConfig


@dataclass(frozen=True)
class Phase:
    """How DLPv2's first steps differ from normal training (ddlp, official code; DDLP, arXiv 2306.05957, appendix).

    alpha_noise: standard deviation of noise on placed alpha. tight_priors: priors of geometry are narrow.
    glimpse_loss: reconstruct the glimpses, not the image, and let no rendering gradient reach geometry.
    """

    encode: EncodeOptions = STANDARD
    alpha_noise: float = 0.0
    tight_priors: bool = False
    glimpse_loss: bool = False


NORMAL = Phase()
NOISY = Phase(EncodeOptions(fixed_scale=True), alpha_noise=0.1, tight_priors=True)
WARM_UP = Phase(EncodeOptions(fixed_scale=True, detach_crops=True), 0.1, True, glimpse_loss=True)


def phase_at(cfg: ScheduleConfig, step: int) -> Phase:
    """The phase of a step counted from 1."""
    if step <= cfg.warm_up_steps:
        return WARM_UP
    if step <= cfg.warm_up_steps + cfg.noisy_steps:
        return NOISY
    return NORMAL


def later_frames(cfg: ScheduleConfig, step: int) -> float:
    """How far later frames of clips have come in: the i-th (from 1) after the first ones counts min(1, this / i)."""
    return (step - 1) / cfg.later_frames_steps if cfg.later_frames_steps else math.inf


def rollout_steps(cfg: ScheduleConfig, step: int, full: int) -> int:
    """How many steps rollouts are long at a training step, `full` at most."""
    if cfg.longer_rollouts_steps == 0:
        return full
    return min(full, 1 + (step - 1) // cfg.longer_rollouts_steps)


def ramped(weights: Mapping[str, float], ramps: Mapping[str, Sequence[int]], step: int) -> dict[str, float]:
    """Weights of a step: terms with a ramp [first, last] rise linearly from 0 at `first` to their weight at `last`."""
    scaled = dict(weights)
    for term, (first, last) in ramps.items():
        if term in scaled:
            scaled[term] *= min(max((step - first) / (last - first), 0.0), 1.0)
    return scaled
