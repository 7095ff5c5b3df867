"""Settings of the image model. A published model is a set of values here, not a class."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np

from dlp_dyn.errors import InputError
from dlp_dyn.settings import (
    Count,
    Fraction,
    Length,
    Natural,
    NonNegative,
    Positive,
    Was,
    Widths,
    above,
    at_least,
    between,
    check,
)


@dataclass(frozen=True)
class NetworkConfig:
    """Layer sizes."""

    style: Literal["lean", "dlpv3", "dlpv2"] = "lean"
    """Which layers the channel lists describe; lean is ours, the others are as published."""
    proposal_channels: Annotated[list[Count], Length(2)] = field(default_factory=lambda: [16, 32, 32])
    """widths: layers that propose particles; in the lean style the trunk that all heads share."""
    glimpse_channels: Widths = field(default_factory=lambda: [32, 64])
    """widths: layers that read and, reversed, draw glimpses; wider ones draw more detail."""
    background_channels: Widths = field(default_factory=lambda: [16, 32, 32])
    """widths: layers that read and, reversed, draw the background."""
    stem_channels: Count = 32
    """Width of the first layer of DLPv3's networks."""
    map_channels: Count = 32
    """Width of the coarse maps that glimpses and background are read into."""
    hidden_dim: Count = 128
    """Width of the perceptrons that read attributes and features."""
    glimpse_start: Count = 4
    """Side of the map that a glimpse is drawn from; about an eighth to a half of the glimpse's pixels."""
    draw_factor: Count = 2
    """Glimpses are drawn so many times as fine as they are read; 1 blurs particles larger than a glimpse."""
    recompute: bool = False
    """Saves a third of a training step's memory for a seventh more time."""
    background_start: Count = 8
    """Side of the map that a background is drawn from."""


@dataclass(frozen=True)
class EncoderConfig:
    """How an image becomes particles."""

    selection: Literal["confidence", "variance", "distance", "random", "mixer"] = "confidence"
    """Which proposals become particles. The first chooses after their
    attributes are read (DLPv3), the others before; mixer learns weights for it (DLPv2)."""
    min_separation: Annotated[float, at_least(0, "in glimpse sides"), Was("apart")] = 0.75
    """Proposals nearer than this to a chosen one are passed over, which stops several
    particles from sharing an object; lower it where objects touch. Of the confidence selection."""
    other_colour: NonNegative = 0.0
    """Of 1: proposals whose colours differ by this are as good as `min_separation`, so that a small thing is found at a
    large one; 0 looks at places alone. Needs model.reference."""
    mean_shift: NonNegative = 0.0
    """Proposals go to the middle of the pixels about them that have their colour, so that a small thing keeps its
    particle where it touches a large one: how far colours may differ, as a share of the difference from the reference;
    particles are then chosen before their attributes are read. 0 leaves proposals where they are. Needs
    model.reference."""
    merge: Annotated[float, at_least(0, "in glimpse sides")] = 0.0
    """Of particles that lie nearer than this after the second look one stays on, which
    then also reads its transparency there; 0 leaves all. Of the lean style with two passes."""
    overlap: Fraction = 1.0
    """With `merge`: of particles of one colour whose boxes share more than this of the smaller box one stays on, so
    that a large thing is not drawn in parts; 1 leaves them. Needs model.reference and other_colour."""
    passes: Literal[1, 2] = 2
    """The second reads the attributes again, at the anchor that the first one corrected."""
    transparency: Literal["gated", "free"] = "gated"
    """gated: one logit with a·b = 0.01, so nearly on or off (DLPv3); free: two parameters (DLPv2)."""
    interaction: bool = True
    """Attention among the particles corrects depth and features (DLPv3)."""
    interaction_heads: Count = 1
    """Heads of that attention."""
    interaction_layers: Count = 1
    """Layers of that attention."""
    grid: bool = False
    """Interaction tells particles by their patch, and those that are not looked at closely have learned features: the
    image model of LPWM, for tracking.kind=grid."""
    views: Count = 1
    """Views of a scene whose particles attend to each other; with grid."""
    hard_background_mask: bool = True
    """Boxes of visible particles are cut out of what the background is read from, all or nothing."""
    correlation: bool = False
    """Attributes also see where the glimpse of the frame before fits best (DDLP's tracking). Not with confidence."""
    glimpse_padding: Literal["border", "zeros"] = "border"
    """What a glimpse sees beyond the image."""

    @property
    def early(self) -> bool:
        """Whether particles are chosen before their attributes are read."""
        return self.selection != "confidence"


@dataclass(frozen=True)
class PriorConfig:
    """Constant priors."""

    offset_std: Annotated[float, above(0, "in [-1, 1] units")] = 0.2
    """How far a particle lies from its anchor; smaller binds it tighter."""
    scale_std: Annotated[float, above(0, "in logits")] = 0.3
    """Standard deviation of sizes."""
    scale_fraction: Fraction = 0.75
    """Expected particle side / glimpse side."""
    transparency: Annotated[list[Positive], Length(2, 2)] = field(default_factory=lambda: [0.01, 0.01])
    """two numbers: parameters of a Beta distribution; smaller ones push particles to fully on or off."""


@dataclass(frozen=True)
class CompatConfig:
    """Quirks of the official code that change the function computed by its weights; off unless converted."""

    beta_kl_eps: NonNegative = 0.0
    """Added inside the Beta KL's special functions."""
    merge_repeated_widths: bool = False
    """DLPv2's builder loses a layer of the background encoder where a width repeats."""
    pixel_border_sampling: bool = False
    """DLPv3's samplers use `align_corners=False`."""
    scalar_norm: bool = False
    """DLPv3 normalises the embedding of single numbers."""


@dataclass(frozen=True)
class DLPConfig:
    """The image model."""

    image_size: Annotated[int, at_least(2, "pixels")] = 64
    """Side of the frames, a multiple of patch_size; time and memory grow with its square."""
    patch_size: Annotated[int, at_least(1, "pixels")] = 8
    """Divides image_size: every patch proposes one particle; smaller ones find smaller, more crowded objects."""
    n_particles: Count = 10
    """Slots of an image, no more than there are proposals. Give one or two more than there are objects; too few leave
    objects to the background, spare ones are off."""
    n_proposals: Natural = 0
    """Keypoints that an early selection keeps for the Chamfer term; 0 keeps all."""
    glimpse_fraction: Annotated[float, between(0, 1, "least")] = 0.25
    """Glimpse side / image side; a little more than the largest object."""
    largest_fraction: Annotated[float, between(0, 1, "most")] = 0.0
    """Largest particle side / image side; 0 sets no bound. One that may grow draws two things that go about
    together."""
    feature_dim: Count = 4
    """Numbers that say what a particle looks like; 4 for plain objects, 8 for varied ones."""
    background_dim: Count = 2
    """Numbers that say what the background looks like; 1 where it never changes."""
    reconstruction: Literal["mse", "vgg", "lpips"] = "mse"
    """The reconstruction error. The perceptual ones (DLPv2's, DLPv3's) suit real pictures, are slow,
    and fetch weights on first use."""
    reference: Literal["none", "median", "blur"] = "none"
    """What pictures are compared with. The encoder sees the difference too, and seeks particles
    where it is large. median: of the data, for cameras that stand still; it is also the background, and only what
    changes about it is learned. blur: a picture's own, for cameras that move. Of the lean style."""
    mask_kl: bool = True
    """KL terms count as much as their particle is visible (DLPv3)."""
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    compat: CompatConfig = field(default_factory=CompatConfig)

    @property
    def n_patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2

    @property
    def glimpse_size(self) -> int:
        """Glimpse side in pixels; half to even, as the official models round it."""
        return int(np.round(self.glimpse_fraction * (self.image_size - 1)))

    @property
    def channels(self) -> int:
        """Of what the encoder sees: colours, and their difference from the reference."""
        return 3 if self.reference == "none" else 6

    @property
    def min_distance(self) -> float:
        """`encoder.min_separation` as a distance between positions."""
        return 2 * self.encoder.min_separation * self.glimpse_fraction

    @property
    def colour_distance(self) -> float:
        """What a difference of colours of 1 weighs beside one of positions."""
        return self.min_distance / self.encoder.other_colour if self.encoder.other_colour else 0.0

    @property
    def merges_overlap(self) -> bool:
        return self.encoder.overlap < 1

    def check(self) -> None:
        """Raise InputError for values that do not fit each other; `build_networks` checks those of the layers."""
        check(self, "model")
        if self.reference != "none" and self.encoder.early:
            raise InputError(f"model.reference={self.reference} needs model.encoder.selection=confidence")
        if self.encoder.other_colour and self.reference == "none":
            raise InputError("model.encoder.other_colour needs model.reference=median or blur")
        if self.encoder.mean_shift and self.reference == "none":
            raise InputError("model.encoder.mean_shift needs model.reference=median or blur")
        if self.encoder.merge and self.encoder.passes != 2:
            raise InputError("model.encoder.merge needs model.encoder.passes=2")
        if self.merges_overlap and not (self.encoder.merge and self.encoder.other_colour):
            raise InputError("model.encoder.overlap needs model.encoder.merge and model.encoder.other_colour")
        if self.encoder.correlation and not self.encoder.early:
            raise InputError(
                "model.encoder.correlation=true needs an early selection: set model.encoder.selection=variance"
            )
        if self.image_size % self.patch_size:
            raise InputError(
                f"model.image_size={self.image_size} is not a multiple of model.patch_size={self.patch_size}: "
                "change one of them"
            )
        if self.encoder.grid and (self.encoder.early or not self.encoder.interaction):
            raise InputError(
                "model.encoder.grid=true needs model.encoder.selection=confidence and model.encoder.interaction=true"
            )
        if self.encoder.views > 1 and not self.encoder.grid:
            raise InputError(
                f"model.encoder.views={self.encoder.views}: give 1, or more with model.encoder.grid=true"
            )
        available = self.n_proposals or self.n_patches
        if available > self.n_patches:
            raise InputError(
                f"model.n_proposals={available} is more than the {self.n_patches} patches of an image: "
                "lower it, or use smaller patches"
            )
        if self.n_particles > available:
            raise InputError(
                f"model.n_particles={self.n_particles} is more than the {available} proposals: "
                "lower it, or use smaller patches"
            )
