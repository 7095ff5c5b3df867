"""Settings of the objectives: what each term weighs, and what changes in the course of training."""

from dataclasses import dataclass

from dlp_dyn.settings import Fraction, Natural, NonNegative, Positive


@dataclass(frozen=True)
class ImageWeights:
    """Weights of the terms of an image: sums over pixels, particles and dimensions, means over the batch."""

    reconstruction: NonNegative = 0.1
    """Pixels (or perceptual features) of the frame that are drawn wrong; lower it and KL terms rule."""
    kl_anchor: NonNegative = 5e-4
    """Proposals and the keypoints of patches lie together (Chamfer)."""
    kl_position: NonNegative = 0.01
    """Distance of a particle from its anchor."""
    kl_scale: NonNegative = 0.01
    """Distance of its size from the expected one."""
    kl_depth: NonNegative = 0.01
    """Depth stays near 0."""
    kl_transparency: NonNegative = 0.01
    """Particles are fully on or off."""
    kl_features: NonNegative = 1e-3
    """Numbers of appearance that are not needed go unused; higher merges looks, and particles with them."""
    kl_background: NonNegative = 1e-3
    """The same for the background; higher stops it from drawing objects."""
    transparency_sum: NonNegative = 0.0
    """Square of the number of particles that are on; higher uses fewer."""
    off_centre: NonNegative = 0.0
    """Objects are drawn in the middle of their glimpse, so that positions are those of objects."""
    opacity: NonNegative = 0.0
    """How much of a glimpse is covered; higher draws tight outlines."""
    spill: NonNegative = 0.0
    """Pixels that stand still but are drawn by particles, in glimpses; higher keeps them within the outlines of what
    moves. Needs model.reference."""
    missed: NonNegative = 0.0
    """Particles that are off where something moves and is not drawn. Needs model.reference and prices.object_energy."""
    particles: NonNegative = 0.0
    """Number of particles that are on; a tenth of what an object is worth in `reconstruction` turns spare
    ones off."""


@dataclass(frozen=True)
class ClipWeights(ImageWeights):
    """Weights of the terms of a clip: those of images for its first frames, the others for the rest."""

    reconstruction_dynamic: NonNegative = 0.1
    """`reconstruction` of frames after the first `tracking.static_frames`."""
    dynamic_position: NonNegative = 0.01
    """KL of positions to what the dynamics expected; higher makes motion easier to predict."""
    dynamic_scale: NonNegative = 0.01
    """KL of sizes to what the dynamics expected."""
    dynamic_depth: NonNegative = 0.01
    """KL of depths to what the dynamics expected."""
    dynamic_transparency: NonNegative = 0.01
    """KL of transparencies to what the dynamics expected."""
    dynamic_features: NonNegative = 0.01
    """KL of appearances to what the dynamics expected."""
    dynamic_background: NonNegative = 0.01
    """KL of the background to what the dynamics expected."""


@dataclass(frozen=True)
class RolloutWeights:
    """Weights of the terms of a rollout."""

    rollout_position: NonNegative = 1.0
    """Distance of predicted from seen positions, in units of motion."""
    rollout_attributes: NonNegative = 0.1
    """Squared error of all else."""
    rollout_spread: NonNegative = 0.01
    """How well the predicted spread covers what happened; for random futures."""


@dataclass(frozen=True)
class LatentRolloutWeights(RolloutWeights):
    """Weights of the terms of a rollout that follows latent actions: one more."""

    rollout_latent: NonNegative = 0.1
    """KL of latent actions to what the policy expected, means over visible particles; a random turn is told when it
    is worth more motion units than this weighs its nats."""


@dataclass(frozen=True)
class LatentWeights(ClipWeights):
    """Weights of the terms of a clip whose dynamics have latent actions: one more."""

    dynamic_latent: NonNegative = 0.01
    """KL of latent actions to what the policy expected; higher makes them easier to foresee."""


@dataclass(frozen=True)
class DenoisingWeights:
    """The weight of the one term of generation."""

    denoising: NonNegative = 1.0
    """Error of clips that are seen behind noise."""


@dataclass(frozen=True)
class LossWeights(LatentWeights, LatentRolloutWeights, DenoisingWeights):
    """The weights of every objective, side by side: each takes those of its own terms."""


@dataclass(frozen=True)
class ScheduleConfig:
    """Warm-up, then noise, then normal training; frames and steps of clips that come in one by one."""

    warm_up_steps: Natural = 0
    """First steps, in which DLPv2 learns to draw glimpses alone."""
    noisy_steps: Natural = 0
    """Steps after that with noise on what is drawn and a fixed size (DLPv2)."""
    static_steps: Natural = 0
    """First steps, in which all frames of a clip but the last two keep the constant priors (LPWM)."""
    later_frames_steps: Natural = 0
    """Clips: over so many steps each, one after the other, later frames come to count in full; 0 has them
    all from the start."""
    longer_rollouts_steps: Natural = 0
    """Training on particles: rollouts grow by a step every so many steps; 0 has full length from the
    start."""


@dataclass(frozen=True)
class PriceConfig:
    """Prices of particles that rise by a target instead of by hand, and what goes with them; images only."""

    target_share: Fraction = 0.0
    """Prices of particles rise while they draw more than this share of the energy of what moves, and fall
    while they draw less; 0 has the weights as they are from the start. Needs model.reference."""
    rate: Positive = 0.02
    """Prices change by this factor a step at most."""
    threshold: Fraction = 0.05
    """A pixel moves where a colour differs from the reference by more."""
    object_energy: NonNegative = 0.0
    """Squared differences of a small object from the reference, summed over pixels and colours; 0 turns the
    term `missed` off."""
    exchange: Fraction = 0.0
    """Share of the pairs of frames (data.clip_length=2) whose particles swap appearances before they are drawn,
    once the target was reached: a particle that hides two things that touch cannot draw both so."""


STEADY = ScheduleConfig()  # all from the start, and no phases
UNPRICED = PriceConfig()  # weights as they are
