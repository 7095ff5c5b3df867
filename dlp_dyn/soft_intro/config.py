"""Settings of Soft-IntroVAE: the four families of models, and the game that trains them."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar

from dlp_dyn.errors import InputError
from dlp_dyn.settings import Count, Fraction, Natural, NonNegative, Positive, Widths, at_least

Norm = Literal["group", "batch"]
Error = Literal["mse", "l1", "bce"]
T = TypeVar("T")


@dataclass(frozen=True)
class GameConfig:
    """What encoder and decoder play for (Soft-IntroVAE, arXiv 2012.13253, equations 5 and 6)."""

    reconstruction: NonNegative = 1.0
    """Weight of reconstruction errors."""
    kl: NonNegative = 1.0
    """Weight of the KL of data in the encoder's turn, and of fakes in the decoder's."""
    negative: NonNegative = 256.0
    """Weight of the KL of fakes in the encoder's turn. Beyond twice e times `kl` a larger one repels less:
    the step at which repulsion fades is told when training starts."""
    cycle: NonNegative = 1e-8
    """Weight of the error of drawing fakes again; as published it changes nothing, 0 saves two passes."""
    scale: Positive | None = None
    """Of the loss; null is 1 over the numbers of an image."""
    fakes: Literal["both", "samples", "reconstructions", "none"] = "both"
    """What the encoder is to tell from data; none makes it a plain VAE."""
    attached_target: bool = True
    """The encoder may move a reconstruction away from its redrawing, as published; false stops that gradient."""
    redraw: Literal["nothing", "noise", "everything"] = "nothing"
    """What the decoder's turn draws anew: nothing, the noise of the latents of data, or samples of the prior too."""
    target_every: Annotated[int, at_least(0, "steps")] = 0
    """Between copies of the decoder that draws fakes again (bootstrap); 0 is the decoder itself."""
    warm_up_steps: Natural = 0
    """First steps, as a plain VAE."""
    unscaled_warm_up: bool = False
    """`scale` is 1 in the warm-up, as published: Adam then takes small steps for a long time after it."""

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

    hidden_dim: Count = 256
    """Width of hidden layers."""
    n_hidden: Natural = 3
    """Hidden layers after the first."""
    latent_dim: Count = 2
    """Numbers that a latent has."""


@dataclass(frozen=True)
class ImageConfig:
    """Residual convolutions for square images."""

    image_size: Annotated[int, at_least(1, "pixels")] = 32
    """Side of the images, a multiple of 2 to the number of widths."""
    image_channels: Literal[1, 3] = 3
    """1 is grey, the mean of the three."""
    channels: Widths = field(default_factory=lambda: [64, 128, 256])
    """widths: the image is halved after each."""
    latent_dim: Count = 128
    """Numbers that a latent has."""
    norm: Norm = "group"
    """`batch` as published: each batch by its own statistics in training, so that evaluation draws other pictures."""
    error: Error = "mse"
    """Sums over pixels of the squared or absolute difference, or of cross entropy (of outputs in [0, 1])."""
    convolved_skips: bool = False
    """Skips from one width to the next are convolutions where both are equal too, as in some published weights."""

    def __post_init__(self) -> None:
        factor = 2 ** len(self.channels)
        if not self.channels or self.image_size % factor:
            raise InputError(
                f"config: soft_intro: image_size is {self.image_size}, halved {len(self.channels)} times: give "
                f"a multiple of {factor}, or other channels"
            )


@dataclass(frozen=True)
class TranslationConfig(ImageConfig):
    """Images in two codes: the class, which the frames of a clip have in common, and the content, `latent_dim`, in
    which they differ."""

    class_dim: Count = 16
    """Numbers of the class code."""
    frames: Annotated[int, at_least(2, "frames")] = 4
    """Of a clip, `data.clip_length`: in training the class code of each is the mean of the others'."""


@dataclass(frozen=True)
class PointCloudConfig:
    """A PointNet, and a perceptron that gives all points at once."""

    n_points: Count = 2048
    """Points of a cloud."""
    encoder_channels: Widths = field(default_factory=lambda: [64, 128, 256, 256, 512])
    """widths: of layers on single points, before their maximum."""
    encoder_hidden: Count = 256
    """Width of the layer after the maximum."""
    decoder_channels: Widths = field(default_factory=lambda: [64, 128, 512, 1024])
    """widths: of the decoder's layers."""
    latent_dim: Count = 128
    """Numbers that a latent has."""
    prior_std: Positive = 0.2
    """Of the prior; one kind of shape wants a narrow one."""
    norm: Norm = "group"
    """`batch` as published."""


@dataclass(frozen=True)
class StyleConfig:
    """Images drawn by styles, grown from 4 pixels to their full side (networks of ALAE, CVPR 2020)."""

    image_size: Annotated[int, at_least(4, "pixels")] = 64
    """Side of the images, 4 times a power of 2."""
    latent_dim: Count = 512
    """Of latents and styles."""
    start_channels: Count = 64
    """Width at the full side; doubled with every halving."""
    max_channels: Count = 512
    """Widths do not exceed it."""
    n_mapping: Count = 8
    """Layers from a latent to its style."""
    n_encoder_mapping: Count = 3
    """Layers from an image's style to its posterior."""
    fused_from: Annotated[int, at_least(1, "pixels")] = 128
    """From this side on, convolutions and changes of size are one operation."""
    grow_every: Annotated[int, at_least(0, "steps")] = 0
    """After which the side doubles, and over half of which the larger one is faded in; 0 starts and
    stays at the full side."""
    mixing: Fraction = 0.9
    """Share of samples that take the finer half of their styles from another latent."""

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
    translation: TranslationConfig | None = None
    """a section, or null: `data.path` is as for particle models, and the frames of an episode are of one class."""
    game: GameConfig = field(default_factory=GameConfig)

    def __post_init__(self) -> None:
        families = (self.densities, self.images, self.point_clouds, self.style, self.translation)
        if sum(family is not None for family in families) != 1:
            raise InputError(
                "config: soft_intro wants exactly one of the sections densities, images, point_clouds, style and "
                "translation; set the others to null"
            )

    @property
    def image_size(self) -> int | None:
        """Pixels of a side; None where data are no images."""
        family = self.images or self.style or self.translation
        return None if family is None else family.image_size


def own_section(section: T | None, name: str) -> T:
    """The section of one family. Raises InputError where the config is of another."""
    if section is None:
        raise InputError(f"config: soft_intro.{name} is null; this is the config of another family")
    return section
