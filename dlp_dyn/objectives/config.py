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
class LossWeights(ClipWeights, RolloutWeights):
    """The weights of every objective, side by side: each takes those of its own terms."""


@dataclass(frozen=True)
class ScheduleConfig:
    """Warm-up, then noise, then normal training; frames and steps of clips that come in one by one."""

    warm_up_steps: int = 0
    """0 or more: first steps, in which DLPv2 learns to draw glimpses alone."""
    noisy_steps: int = 0
    """0 or more: steps after that with noise on what is drawn and a fixed size (DLPv2)."""
    later_frames_steps: int = 0
    """0 or more: clips: over so many steps each, one after the other, later frames come to count in full; 0 has them
    all from the start."""
    longer_rollouts_steps: int = 0
    """0 or more: training on particles: rollouts grow by a step every so many steps; 0 has full length from the
    start."""


STEADY = ScheduleConfig()  # all from the start, and no phases
