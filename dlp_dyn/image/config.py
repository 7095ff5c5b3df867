"""Settings of the image model. A published model is a set of values here, not a class."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlp_dyn.errors import InputError


@dataclass(frozen=True)
class NetworkConfig:
    """Layer sizes.

    `style` says which layers the channel lists describe: `lean` (ours), `dlpv3` or `dlpv2` (as published). In the
    lean style `proposal_channels` are the shared trunk's, and glimpses are drawn `draw_factor` times as fine as they
    are read: a particle larger than the glimpse's side in pixels would be drawn blurred otherwise. `recompute` trades
    a seventh of a training step's time for a third of its memory.
    """

    style: str = "lean"
    proposal_channels: list[int] = field(default_factory=lambda: [16, 32, 32])
    glimpse_channels: list[int] = field(default_factory=lambda: [32, 64])
    background_channels: list[int] = field(default_factory=lambda: [16, 32, 32])
    stem_channels: int = 32
    map_channels: int = 32
    hidden_dim: int = 128
    glimpse_start: int = 4
    draw_factor: int = 2
    recompute: bool = False
    background_start: int = 8

    @property
    def lean(self) -> bool:
        """Whether proposals and a first look at the attributes share a trunk."""
        return self.style == "lean"

    @property
    def starts_at_prior(self) -> bool:
        """Whether attributes start at their anchor, at the standard size, surely; DLPv2's start anywhere."""
        return self.style != "dlpv2"

    @property
    def crops_move_anchors(self) -> bool:
        """Whether gradients of the glimpses that attributes are read from reach the anchors (DLPv3)."""
        return self.style == "dlpv3"

    @property
    def crops_change_scale(self) -> bool:
        """Whether gradients of the glimpses that features are read from reach the scale (not in DLPv2)."""
        return self.style != "dlpv2"


@dataclass(frozen=True)
class EncoderConfig:
    """How an image becomes particles.

    selection: which of the proposals become particles. `variance`, `distance`, `random` choose before their
    attributes are read and `mixer` learns weights for it (DLPv2); `confidence` chooses after (DLPv3).
    apart: late selection passes over proposals nearer than this fraction of a glimpse's side to a chosen one.
    passes: 2 reads the attributes again at the anchor that the first pass corrected.
    transparency: `gated`, one logit with a·b = 0.01 (DLPv3), or `free`, two (DLPv2).
    interaction: depth and feature residuals from attention among the particles (DLPv3).
    hard_background_mask: boxes of visible particles are cut out of the background's input, all or nothing.
    correlation: attributes also see where the glimpse of the frame before fits best (DDLP's tracking).
    """

    selection: str = "confidence"
    apart: float = 0.75
    passes: int = 2
    transparency: str = "gated"
    interaction: bool = True
    interaction_heads: int = 1
    interaction_layers: int = 1
    hard_background_mask: bool = True
    correlation: bool = False
    glimpse_padding: str = "border"

    @property
    def early(self) -> bool:
        """Whether particles are chosen before their attributes are read."""
        return self.selection != "confidence"


@dataclass(frozen=True)
class PriorConfig:
    """Constant priors.

    offset_std, scale_std: standard deviations. scale_fraction: expected particle side / glimpse side.
    transparency: the two parameters of its Beta distribution.
    """

    offset_std: float = 0.2
    scale_std: float = 0.3
    scale_fraction: float = 0.75
    transparency: list[float] = field(default_factory=lambda: [0.01, 0.01])


@dataclass(frozen=True)
class CompatConfig:
    """Quirks of the official code that change the function computed by its weights; off unless converted.

    beta_kl_eps: inside the Beta KL's special functions. merge_repeated_widths: DLPv2's builder loses a layer of
    the background encoder where a width repeats. pixel_border_sampling: DLPv3's samplers use
    `align_corners=False`. scalar_norm: DLPv3 normalises the embedding of single numbers.
    """

    beta_kl_eps: float = 0.0
    merge_repeated_widths: bool = False
    pixel_border_sampling: bool = False
    scalar_norm: bool = False


@dataclass(frozen=True)
class DLPConfig:
    """The image model.

    n_particles: how many slots an image has. n_proposals: how many of the patch keypoints an early selection
    keeps for the Chamfer term (0: all). glimpse_fraction: glimpse side / image side before any scale is known.
    reconstruction: `mse`, `vgg` (DLPv2's perceptual loss) or `lpips` (DLPv3's).
    mask_kl: KL terms count as much as their particle is visible (DLPv3).
    """

    image_size: int = 64
    patch_size: int = 8
    n_particles: int = 10
    n_proposals: int = 0
    glimpse_fraction: float = 0.25
    feature_dim: int = 4
    background_dim: int = 2
    reconstruction: str = "mse"
    mask_kl: bool = True
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
    def apart(self) -> float:
        """`encoder.apart` as a distance between positions."""
        return 2 * self.encoder.apart * self.glimpse_fraction

    def check(self) -> None:
        """Raise InputError for values that no model can be built from."""
        _one_of("networks.style", self.networks.style, ("lean", "dlpv2", "dlpv3"))
        _one_of(
            "encoder.selection",
            self.encoder.selection,
            ("confidence", "variance", "distance", "random", "mixer"),
        )
        _one_of("encoder.transparency", self.encoder.transparency, ("gated", "free"))
        _one_of("encoder.passes", self.encoder.passes, (1, 2))
        _one_of("encoder.glimpse_padding", self.encoder.glimpse_padding, ("zeros", "border"))
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


@dataclass(frozen=True)
class IdentityConfig:
    """Which particle is which over time.

    kind: `tracker` (DDLP; trained on clips), `grid` (LPWM; late selection only) or `match` (image models as they are).
    static_frames: so many first frames of a clip keep the constant priors, and the dynamics are the others' prior.
    patience, reach: of `match`; frames that an unseen object is kept, and how far it may be from where it is expected,
    in [-1, 1] units.
    """

    kind: str = "match"
    static_frames: int = 4
    patience: int = 5
    reach: float = 0.4

    def check(self, image: DLPConfig) -> None:
        """Raise InputError for values that do not fit each other or the image model."""
        if self.kind not in ("tracker", "grid", "match"):
            raise InputError(f"identity.kind={self.kind!r} is unknown: use one of tracker, grid, match")
        if self.static_frames < 1:
            raise InputError(
                f"identity.static_frames={self.static_frames}: the first frame needs one; give 1 or more"
            )
        if self.kind == "grid" and image.encoder.early:
            raise InputError(
                "identity.kind=grid makes every patch a particle: it needs model.encoder.selection=confidence"
            )


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise InputError(f"model.{name}={value!r} is unknown: use one of {', '.join(map(str, allowed))}")
