"""Settings of DLPv1."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from dlp_dyn.errors import InputError
from dlp_dyn.settings import Count, Length, Positive, at_least, between, check

SEED_SIDE = 8  # of the maps that decoders grow from


@dataclass(frozen=True)
class KeypointVAEConfig:
    """DLPv1 (arXiv 2205.15821): the `object` model draws glimpses, the `masked` one decodes maps around particles."""

    decoder: Literal["object", "masked"] = "object"
    """`object` draws a glimpse per particle onto a background; `masked` decodes Gaussian maps and masked features."""
    image_size: Annotated[int, at_least(1, "pixels")] = 64
    """Side of the square images."""
    patch_size: Annotated[int, at_least(1, "pixels")] = 8
    """Side of the patches that each propose a key point; divides image_size."""
    n_particles: Count = 10
    """Places in the image, each with a role of its own."""
    n_proposals: Count = 15
    """Proposals that the Chamfer term sees, those farthest from the middle of their patch."""
    feature_dim: Count = 6
    """Numbers that say what a particle looks like."""
    glimpse_fraction: Annotated[float, between(0, 1, "least")] = 0.25
    """Side of a glimpse as a fraction of the image's."""
    encoder_channels: Annotated[list[Count], Length(2)] = field(default_factory=lambda: [32, 64, 128])
    """widths: of the image's encoder and, reversed, its decoder; the image is halved between them."""
    proposal_channels: Annotated[list[Count], Length(2)] = field(default_factory=lambda: [16, 32, 64])
    """widths: layers that read patches."""
    sigma: Positive = 0.1
    """Standard deviation of Gaussian maps, of the prior's key points and of the background's position."""
    mask_threshold: Annotated[float, between(0, 1, "both")] = 0.2
    """Where a Gaussian map counts as foreground."""
    reconstruction: Literal["mse", "vgg"] = "mse"
    """Squared error, or with distances of VGG16 features of raw images as well."""
    exclusive_patches: bool = False
    """In training, a crop sees only what earlier particles leave of it."""
    background_anchor: bool = False
    """The Chamfer term counts the background's position as one more particle, as in the published faces."""
    warped_pairs: bool = False
    """In training, proposals are read from another warp of the image than particles; frames are a quarter larger than
    image_size, and cut after warping."""

    @property
    def map_side(self) -> int:
        """Of the image's feature map."""
        return self.image_size // 2 ** (len(self.encoder_channels) - 1)

    @property
    def glimpse_size(self) -> int:
        """Pixels."""
        return round(self.glimpse_fraction * (self.image_size - 1))

    @property
    def map_glimpse(self) -> int:
        """Cells of the feature map that a particle covers."""
        return round(self.glimpse_fraction * (self.map_side - 1))

    def check(self) -> None:
        """Raises InputError for sizes that do not fit one another."""
        check(self, "keypoint_vae")
        if self.image_size % self.patch_size:
            raise InputError(
                f"config: patch_size {self.patch_size} does not divide image_size {self.image_size}"
            )
        if (
            not _doubled(self.map_side)
            or self.map_side << (len(self.encoder_channels) - 1) != self.image_size
        ):
            raise InputError(
                f"config: image_size {self.image_size} halved {len(self.encoder_channels) - 1} times gives a map "
                f"of side {self.map_side}; it must be {SEED_SIDE}, 16, 32, ...: change encoder_channels"
            )
        if self.decoder == "object" and (self.glimpse_size < 16 or not _doubled(self.glimpse_size)):
            raise InputError(
                f"config: glimpse_fraction {self.glimpse_fraction} gives glimpses of {self.glimpse_size} pixels; the "
                "object model needs 16, 32, 64, ..."
            )
        if (self.map_side - self.map_glimpse) % 2 or self.map_glimpse < 1:
            raise InputError(
                f"config: glimpse_fraction {self.glimpse_fraction} covers {self.map_glimpse} of {self.map_side} cells "
                "of the feature map; the rest must be even"
            )


def _doubled(side: int) -> bool:
    return side >= SEED_SIDE and side % SEED_SIDE == 0 and (side // SEED_SIDE).bit_count() == 1
