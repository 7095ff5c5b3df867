"""Settings of the objectives: what each term weighs, and what changes in the course of training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageWeights:
    """Weights of the terms of an image: sums over pixels, particles and dimensions, means over the batch."""

    reconstruction: float = 0.1
    """0 or more: pixels (or perceptual features) of the frame that are drawn wrong; lower it and KL terms rule."""
    kl_anchor: float = 5e-4
    """0 or more: proposals and the keypoints of patches lie together (Chamfer)."""
    kl_position: float = 0.01
    """0 or more: distance of a particle from its anchor."""
    kl_scale: float = 0.01
    """0 or more: distance of its size from the expected one."""
    kl_depth: float = 0.01
    """0 or more: depth stays near 0."""
    kl_transparency: float = 0.01
    """0 or more: particles are fully on or off."""
    kl_features: float = 1e-3
    """0 or more: numbers of appearance that are not needed go unused; higher merges looks, and particles with them."""
    kl_background: float = 1e-3
    """0 or more: the same for the background; higher stops it from drawing objects."""
    transparency_sum: float = 0.0
    """0 or more: square of the number of particles that are on; higher uses fewer."""
    off_centre: float = 0.0
    """0 or more: objects are drawn in the middle of their glimpse, so that positions are those of objects."""
    opacity: float = 0.0
    """0 or more: how much of a glimpse is covered; higher draws tight outlines."""
    particles: float = 0.0
    """0 or more: number of particles that are on; a tenth of what an object is worth in `reconstruction` turns spare
    ones off."""


@dataclass(frozen=True)
class ClipWeights(ImageWeights):
    """Weights of the terms of a clip: those of images for its first frames, the others for the rest."""

    reconstruction_dynamic: float = 0.1
    """0 or more: `reconstruction` of frames after the first `identity.static_frames`."""
    dynamic_position: float = 0.01
    """0 or more: KL of positions to what the dynamics expected; higher makes motion easier to predict."""
    dynamic_scale: float = 0.01
    """0 or more: KL of sizes to what the dynamics expected."""
    dynamic_depth: float = 0.01
    """0 or more: KL of depths to what the dynamics expected."""
    dynamic_transparency: float = 0.01
    """0 or more: KL of transparencies to what the dynamics expected."""
    dynamic_features: float = 0.01
    """0 or more: KL of appearances to what the dynamics expected."""
    dynamic_background: float = 0.01
    """0 or more: KL of the background to what the dynamics expected."""


@dataclass(frozen=True)
class RolloutWeights:
    """Weights of the terms of a rollout."""

    rollout_position: float = 1.0
    """0 or more: distance of predicted from seen positions, in units of motion."""
    rollout_attributes: float = 0.1
    """0 or more: squared error of all else."""
    rollout_spread: float = 0.01
    """0 or more: how well the predicted spread covers what happened; for random futures."""


@dataclass(frozen=True)
class LatentWeights(ClipWeights):
    """Weights of the terms of a clip whose dynamics have latent actions: one more."""

    dynamic_latent: float = 0.01
    """0 or more: KL of latent actions to what the policy expected; higher makes them easier to foresee."""


@dataclass(frozen=True)
class DenoisingWeights:
    """The weight of the one term of generation."""

    denoising: float = 1.0
    """0 or more: error of clips that are seen behind noise."""


@dataclass(frozen=True)
class LossWeights(LatentWeights, RolloutWeights, DenoisingWeights):
    """The weights of every objective, side by side: each takes those of its own terms."""


@dataclass(frozen=True)
class ScheduleConfig:
    """Warm-up, then noise, then normal training; frames and steps of clips that come in one by one."""

    warm_up_steps: int = 0
    """0 or more: first steps, in which DLPv2 learns to draw glimpses alone."""
    noisy_steps: int = 0
    """0 or more: steps after that with noise on what is drawn and a fixed size (DLPv2)."""
    static_steps: int = 0
    """0 or more: first steps, in which all frames of a clip but the last two keep the constant priors (LPWM)."""
    later_frames_steps: int = 0
    """0 or more: clips: over so many steps each, one after the other, later frames come to count in full; 0 has them
    all from the start."""
    longer_rollouts_steps: int = 0
    """0 or more: training on particles: rollouts grow by a step every so many steps; 0 has full length from the
    start."""


@dataclass(frozen=True)
class PriceConfig:
    """Prices of particles that rise by a target instead of by hand, and what goes with them; images only."""

    target_share: float = 0.0
    """0 to 1: prices of particles rise while they draw more than this share of the energy of what moves, and fall
    while they draw less; 0 has the weights as they are from the start. Needs model.reference."""
    rate: float = 0.02
    """above 0: prices change by this factor a step at most."""
    threshold: float = 0.05
    """0 to 1: a pixel moves where a colour differs from the reference by more."""
    exchange: float = 0.0
    """0 to 1: share of the pairs of frames (data.clip_length=2) whose particles swap appearances before they are drawn,
    once the target was reached: a particle that hides two things that touch cannot draw both so."""


STEADY = ScheduleConfig()  # all from the start, and no phases
UNPRICED = PriceConfig()  # weights as they are
