"""Settings of the image model. A published model is a set of values here, not a class."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlp_dyn.errors import InputError


@dataclass(frozen=True)
class NetworkConfig:
    """Layer sizes."""

    style: str = "lean"
    """lean, dlpv3 or dlpv2: which layers the channel lists describe; lean is ours, the others are as published."""
    proposal_channels: list[int] = field(default_factory=lambda: [16, 32, 32])
    """widths, 2 or more: layers that propose particles; in the lean style the trunk that all heads share."""
    glimpse_channels: list[int] = field(default_factory=lambda: [32, 64])
    """widths: layers that read and, reversed, draw glimpses; wider ones draw more detail."""
    background_channels: list[int] = field(default_factory=lambda: [16, 32, 32])
    """widths: layers that read and, reversed, draw the background."""
    stem_channels: int = 32
    """1 or more: width of the first layer of DLPv3's networks."""
    map_channels: int = 32
    """1 or more: width of the coarse maps that glimpses and background are read into."""
    hidden_dim: int = 128
    """1 or more: width of the perceptrons that read attributes and features."""
    glimpse_start: int = 4
    """1 or more: side of the map that a glimpse is drawn from; about an eighth to a half of the glimpse's pixels."""
    draw_factor: int = 2
    """1 or more: glimpses are drawn so many times as fine as they are read; 1 blurs particles larger than a glimpse."""
    recompute: bool = False
    """Saves a third of a training step's memory for a seventh more time."""
    background_start: int = 8
    """1 or more: side of the map that a background is drawn from."""


@dataclass(frozen=True)
class EncoderConfig:
    """How an image becomes particles."""

    selection: str = "confidence"
    """confidence, variance, distance, random or mixer: which proposals become particles. The first chooses after their
    attributes are read (DLPv3), the others before; mixer learns weights for it (DLPv2)."""
    apart: float = 0.75
    """0 or more, in glimpse sides: proposals nearer than this to a chosen one are passed over, which stops several
    particles from sharing an object; lower it where objects touch. Of the confidence selection."""
    merge: float = 0.0
    """0 or more, in glimpse sides: of particles that lie nearer than this after the second look one stays on, which
    then also reads its transparency there; 0 leaves all. Of the lean style with two passes."""
    passes: int = 2
    """1 or 2: the second reads the attributes again, at the anchor that the first one corrected."""
    transparency: str = "gated"
    """gated or free: one logit with a·b = 0.01, so nearly on or off (DLPv3), or two parameters (DLPv2)."""
    interaction: bool = True
    """Attention among the particles corrects depth and features (DLPv3)."""
    interaction_heads: int = 1
    """1 or more: heads of that attention."""
    interaction_layers: int = 1
    """1 or more: layers of that attention."""
    grid: bool = False
    """Interaction tells particles by their patch, and those that are not looked at closely have learned features: the
    image model of LPWM, for identity.kind=grid."""
    views: int = 1
    """1 or more: views of a scene whose particles attend to each other; with grid."""
    hard_background_mask: bool = True
    """Boxes of visible particles are cut out of what the background is read from, all or nothing."""
    correlation: bool = False
    """Attributes also see where the glimpse of the frame before fits best (DDLP's tracking). Not with confidence."""
    glimpse_padding: str = "border"
    """border or zeros: what a glimpse sees beyond the image."""

    @property
    def early(self) -> bool:
        """Whether particles are chosen before their attributes are read."""
        return self.selection != "confidence"


@dataclass(frozen=True)
class PriorConfig:
    """Constant priors."""

    offset_std: float = 0.2
    """above 0, in [-1, 1] units: how far a particle lies from its anchor; smaller binds it tighter."""
    scale_std: float = 0.3
    """above 0, in logits: standard deviation of sizes."""
    scale_fraction: float = 0.75
    """0 to 1: expected particle side / glimpse side."""
    transparency: list[float] = field(default_factory=lambda: [0.01, 0.01])
    """two above 0: parameters of a Beta distribution; smaller ones push particles to fully on or off."""


@dataclass(frozen=True)
class CompatConfig:
    """Quirks of the official code that change the function computed by its weights; off unless converted."""

    beta_kl_eps: float = 0.0
    """0 or more: added inside the Beta KL's special functions."""
    merge_repeated_widths: bool = False
    """DLPv2's builder loses a layer of the background encoder where a width repeats."""
    pixel_border_sampling: bool = False
    """DLPv3's samplers use `align_corners=False`."""
    scalar_norm: bool = False
    """DLPv3 normalises the embedding of single numbers."""


@dataclass(frozen=True)
class DLPConfig:
    """The image model."""

    image_size: int = 64
    """a multiple of patch_size: side of the frames in pixels; time and memory grow with its square."""
    patch_size: int = 8
    """a divisor of image_size: every patch proposes one particle; smaller ones find smaller, more crowded objects."""
    n_particles: int = 10
    """1 to the number of proposals: slots of an image. Give one or two more than there are objects; too few leave
    objects to the background, spare ones are off."""
    n_proposals: int = 0
    """0 to the number of patches: keypoints that an early selection keeps for the Chamfer term; 0 keeps all."""
    glimpse_fraction: float = 0.25
    """0 to 1: glimpse side / image side; a little more than the largest object."""
    feature_dim: int = 4
    """1 or more: numbers that say what a particle looks like; 4 for plain objects, 8 for varied ones."""
    background_dim: int = 2
    """1 or more: numbers that say what the background looks like; 1 where it never changes."""
    reconstruction: str = "mse"
    """mse, vgg or lpips: the reconstruction error. The perceptual ones (DLPv2's, DLPv3's) suit real pictures, are slow,
    and fetch weights on first use."""
    reference: str = "none"
    """none, median or blur: what pictures are compared with. The encoder sees the difference too, and seeks particles
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
    def apart(self) -> float:
        """`encoder.apart` as a distance between positions."""
        return 2 * self.encoder.apart * self.glimpse_fraction

    def check(self) -> None:
        """Raise InputError for values that do not fit each other; `build_networks` checks those of the layers."""
        _one_of(
            "encoder.selection",
            self.encoder.selection,
            ("confidence", "variance", "distance", "random", "mixer"),
        )
        _one_of("encoder.transparency", self.encoder.transparency, ("gated", "free"))
        _one_of("encoder.passes", self.encoder.passes, (1, 2))
        _one_of("encoder.glimpse_padding", self.encoder.glimpse_padding, ("zeros", "border"))
        _one_of("reference", self.reference, ("none", "median", "blur"))
        if self.reference != "none" and self.encoder.early:
            raise InputError(f"model.reference={self.reference} needs model.encoder.selection=confidence")
        if self.encoder.merge and self.encoder.passes != 2:
            raise InputError("model.encoder.merge needs model.encoder.passes=2")
        _one_of("reconstruction", self.reconstruction, ("mse", "vgg", "lpips"))
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
        if self.encoder.views < 1 or (self.encoder.views > 1 and not self.encoder.grid):
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


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise InputError(f"model.{name}={value!r} is unknown: use one of {', '.join(map(str, allowed))}")
