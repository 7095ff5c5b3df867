"""The phases of DLPv2's training; DLPv3 has none and always trains in `NORMAL`."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Phase:
    """What differs from normal training (ddlp, official code; DDLP, arXiv 2306.05957, appendix).

    fixed_scale: glimpses are drawn at the prior's size with a little noise, and priors of geometry are tight.
    alpha_noise: standard deviation of noise on placed alpha.
    glimpse_loss: reconstruct the glimpses, not the image, and let no rendering gradient reach geometry.
    later_frames: in clips, the i-th frame (from 1) whose prior the dynamics are counts min(1, later_frames / i).
    """

    fixed_scale: bool = False
    alpha_noise: float = 0.0
    glimpse_loss: bool = False
    later_frames: float = math.inf


NORMAL = Phase()
NOISY = Phase(fixed_scale=True, alpha_noise=0.1)
WARM_UP = Phase(fixed_scale=True, alpha_noise=0.1, glimpse_loss=True)


@dataclass(frozen=True)
class PhaseSchedule:
    """Warm-up, then noise, then normal training."""

    warm_up_steps: int = 0
    """0 or more: first steps, in which DLPv2 learns to draw glimpses alone."""
    noisy_steps: int = 0
    """0 or more: steps after that with noise on what is drawn and a fixed size (DLPv2)."""
    later_frames_steps: int = 0
    """0 or more: over so many steps each, one after the other, the later frames of clips come to count in full; in the
    second stage, rollouts grow by a step every so many steps. 0 has all of them from the start."""

    def at(self, step: int) -> Phase:
        """The phase of a step counted from 1."""
        phase = self._image_phase(step)
        if self.later_frames_steps == 0:
            return phase
        return replace(phase, later_frames=(step - 1) / self.later_frames_steps)

    def _image_phase(self, step: int) -> Phase:
        if step <= self.warm_up_steps:
            return WARM_UP
        if step <= self.warm_up_steps + self.noisy_steps:
            return NOISY
        return NORMAL
