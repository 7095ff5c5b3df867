"""Settings of Soft-IntroVAE: the four families of models, and the game that trains them."""

import math
from dataclasses import dataclass, field
from typing import Literal

from dlp_dyn.errors import InputError

Norm = Literal["group", "batch"]
Error = Literal["mse", "l1", "bce"]


@dataclass(frozen=True)
class GameConfig:
    """What encoder and decoder play for (Soft-IntroVAE, arXiv 2012.13253, equations 5 and 6)."""

    reconstruction: float = 1.0
    """0 or more: weight of reconstruction errors."""
    kl: float = 1.0
    """0 or more: weight of the KL of data in the encoder's turn, and of fakes in the decoder's."""
    negative: float = 256.0
    """0 or more: weight of the KL of fakes in the encoder's turn. Beyond twice e times `kl` a larger one repels less:
    the step at which repulsion fades is told when training starts."""
    cycle: float = 1e-8
    """0 or more: weight of the error of drawing fakes again; as published it changes nothing, 0 saves two passes."""
    scale: float | None = None
    """above 0, or null: of the loss; null is 1 over the numbers of an image."""
    fakes: Literal["both", "samples", "reconstructions", "none"] = "both"
    """What the encoder is to tell from data; none makes it a plain VAE."""
    attached_target: bool = True
    """The encoder may move a reconstruction away from its redrawing, as published; false stops that gradient."""
    redraw: Literal["nothing", "noise", "everything"] = "nothing"
    """What the decoder's turn draws anew: nothing, the noise of the latents of data, or samples of the prior too."""
    target_every: int = 0
    """0 or more steps: between copies of the decoder that draws fakes again (bootstrap); 0 is the decoder itself."""
    warm_up_steps: int = 0
    """0 or more: first steps, as a plain VAE."""
    unscaled_warm_up: bool = False
    """`scale` is 1 in the warm-up, as published: Adam then takes small steps for a long time after it."""

    def __post_init__(self) -> None:
        for name in ("reconstruction", "kl", "negative", "cycle", "target_every", "warm_up_steps"):
            if getattr(self, name) < 0:
                raise InputError(f"config: soft_intro.game.{name} is {getattr(self, name)}; give 0 or more")
        if self.scale is not None and self.scale <= 0:
            raise InputError(f"config: soft_intro.game.scale is {self.scale}; give a positive one or null")

    def fading_kl(self, scale: float) -> float:
        """Nats of KL of a fake at which it is repelled as much as data is attracted; beyond it, less.

        ln(negative / (2 kl)) / (2 scale negative), errors neglected; 0 or less where fakes are never repelled more.
        """
        if not self.negative:
            return -math.inf
        if not self.kl:
            return math.inf
        return math.log(self.negative / (2 * self.kl)) / (2 * scale * self.negative)


@dataclass(frozen=True)
class DensityConfig:
    """Perceptrons for points of the plane."""

    hidden_dim: int = 256
    """1 or more: width of hidden layers."""
    n_hidden: int = 3
    """0 or more: hidden layers after the first."""
    latent_dim: int = 2
    """1 or more: numbers of a latent."""


@dataclass(frozen=True)
class ImageConfig:
    """Residual convolutions for square images."""

    image_size: int = 32
    """pixels: of a side, a multiple of 2 to the number of widths."""
    image_channels: int = 3
    """1 or 3: grey, the mean of the three, or colour."""
    channels: list[int] = field(default_factory=lambda: [64, 128, 256])
    """widths: the image is halved after each."""
    latent_dim: int = 128
    """1 or more: numbers of a latent."""
    norm: Norm = "group"
    """`batch` as published: each batch by its own statistics in training, so that evaluation draws other pictures."""
    error: Error = "mse"
    """Sums over pixels of the squared or absolute difference, or of cross entropy (of outputs in [0, 1])."""

    def __post_init__(self) -> None:
        factor = 2 ** len(self.channels)
        if not self.channels or self.image_size % factor:
            raise InputError(
                f"config: soft_intro.images.image_size is {self.image_size}, halved {len(self.channels)} times: give "
                f"a multiple of {factor}, or other channels"
            )
        if self.image_channels not in (1, 3):
            raise InputError(
                f"config: soft_intro.images.image_channels is {self.image_channels}; give 1 or 3"
            )


@dataclass(frozen=True)
class PointCloudConfig:
    """A PointNet, and a perceptron that gives all points at once."""

    n_points: int = 2048
    """1 or more: points of a cloud."""
    encoder_channels: list[int] = field(default_factory=lambda: [64, 128, 256, 256, 512])
    """widths: of layers on single points, before their maximum."""
    encoder_hidden: int = 256
    """1 or more: width of the layer after the maximum."""
    decoder_channels: list[int] = field(default_factory=lambda: [64, 128, 512, 1024])
    """widths: of the decoder's layers."""
    latent_dim: int = 128
    """1 or more: numbers of a latent."""
    prior_std: float = 0.2
    """above 0: of the prior; one kind of shape wants a narrow one."""
    norm: Norm = "group"
    """`batch` as published."""


@dataclass(frozen=True)
class StyleConfig:
    """Images drawn by styles, grown from 4 pixels to their full side (networks of ALAE, CVPR 2020)."""

    image_size: int = 64
    """pixels: of the full side, 4 times a power of 2."""
    latent_dim: int = 512
    """1 or more: of latents and styles."""
    start_channels: int = 64
    """1 or more: width at the full side; doubled with every halving."""
    max_channels: int = 512
    """1 or more: widths do not exceed it."""
    n_mapping: int = 8
    """1 or more: layers from a latent to its style."""
    n_encoder_mapping: int = 3
    """1 or more: layers from an image's style to its posterior."""
    fused_from: int = 128
    """pixels: from this side on, convolutions and changes of size are one operation."""
    grow_every: int = 0
    """0 or more steps: after which the side doubles, and over half of which the larger one is faded in; 0 starts and
    stays at the full side."""
    mixing: float = 0.9
    """0 to 1: share of samples that take the finer half of their styles from another latent."""

    def __post_init__(self) -> None:
        steps = self.image_size // 4
        if self.image_size % 4 or steps < 1 or steps & (steps - 1):
            raise InputError(
                f"config: soft_intro.style.image_size is {self.image_size}; give 4, 8, 16, 32, ..."
            )

    @property
    def n_levels(self) -> int:
        """How many sides there are, from 4 pixels on."""
        return (self.image_size // 4).bit_length()

    def channels(self, level: int) -> int:
        """Width at side 4 * 2^level."""
        return min(self.start_channels * 2 ** (self.n_levels - 1 - level), self.max_channels)


@dataclass(frozen=True)
class SoftIntroConfig:
    """One family of models, and the game. Exactly one of the families is a section, the others are null."""

    densities: DensityConfig | None = None
    """a section, or null: `data.path` names a set of points."""
    images: ImageConfig | None = None
    """a section, or null: `data.path` is as for particle models."""
    point_clouds: PointCloudConfig | None = None
    """a section, or null: `data.path` is primitives, or a folder of OFF, PLY or NPY files."""
    style: StyleConfig | None = None
    """a section, or null: `data.path` is as for particle models."""
    game: GameConfig = field(default_factory=GameConfig)

    def __post_init__(self) -> None:
        families = (self.densities, self.images, self.point_clouds, self.style)
        if sum(family is not None for family in families) != 1:
            raise InputError(
                "config: soft_intro wants exactly one of the sections densities, images, point_clouds and style; set "
                "the others to null"
            )

    @property
    def image_size(self) -> int | None:
        """Pixels of a side; None where data are no images."""
        family = self.images or self.style
        return None if family is None else family.image_size
