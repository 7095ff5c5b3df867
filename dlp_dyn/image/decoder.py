"""Scene -> RGBA glimpses, background, image, and masks."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn import geometry
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.networks.base import Networks
from dlp_dyn.image.networks.lean import Decoder, GlimpseDecoder
from dlp_dyn.particles import Scene
from dlp_dyn.tree import TensorTree

_DARKEST = 0.004  # of a still background, which is kept in logits


@dataclass(frozen=True)
class Decoded(TensorTree):
    """A drawn scene; colours in [0, 1].

    image = foreground + background_weight * background. glimpses: RGBA, in [0, 1]. transparency: of those drawn.
    """

    image: Float[Tensor, "B 3 H W"]
    foreground: Float[Tensor, "B 3 H W"]
    background: Float[Tensor, "B 3 H W"]
    background_weight: Float[Tensor, "B 1 H W"]
    glimpses: Float[Tensor, "B N 4 S S"]
    transparency: Float[Tensor, "B N 1"]


class SceneDecoder(nn.Module):
    """Decode every particle on its own, place it by position and scale, blend by depth and transparency."""

    def __init__(self, cfg: DLPConfig, networks: Networks) -> None:
        super().__init__()
        self.canvas = cfg.image_size
        self.align_corners = not cfg.compat.pixel_border_sampling
        self.glimpses = networks.glimpse_decoder()
        self.background = networks.background_decoder()
        self.still: Tensor | None
        self.register_buffer("still", None)
        if cfg.reference == "median":
            self.still = torch.zeros(3, cfg.image_size, cfg.image_size)
            assert isinstance(self.background, Decoder)
            self.background.start_from_zero()

    def forward(self, scene: Scene, alpha_noise: float = 0.0, residual: Tensor | float = 1.0) -> Decoded:
        """alpha_noise: standard deviation of noise on placed alpha. residual: how much of what is learned about a
        still background is drawn."""
        p = scene.particles
        glimpses = self.glimpses(p.features.flatten(0, 1)).unflatten(0, p.features.shape[:2])
        background = self._background(scene.background, residual)
        foreground, weight = geometry.composite(
            glimpses,
            p.position,
            p.size,
            p.transparency,
            p.depth,
            self.canvas,
            alpha_noise=alpha_noise,
            align_corners=self.align_corners,
        )
        image = foreground + weight * background
        return Decoded(image, foreground, background, weight, glimpses, p.transparency)

    @torch.no_grad()
    def start_from(self, picture: Float[Tensor, "3 H W"], colour: Float[Tensor, " 3"]) -> None:
        """Before training: the still background, and the colour that glimpses have at first, both in [0, 1]."""
        assert isinstance(self.glimpses, GlimpseDecoder)
        if self.still is not None:
            self.still.copy_(picture.clamp(_DARKEST, 1 - _DARKEST).logit())
        self.glimpses.start_from(colour)

    def _background(self, vector: Float[Tensor, "B D"], residual: Tensor | float) -> Float[Tensor, "B 3 H W"]:
        if self.still is None:
            return self.background(vector)
        assert isinstance(self.background, Decoder)
        return (self.still + residual * self.background.logits(vector)).sigmoid()

    def masks(self, scene: Scene, glimpses: Float[Tensor, "B N 4 S S"]) -> Float[Tensor, "B N H W"]:
        """The share of each pixel that every particle draws."""
        p = scene.particles
        with torch.no_grad():
            return geometry.particle_masks(
                glimpses,
                p.position,
                p.size,
                p.transparency,
                p.depth,
                self.canvas,
                align_corners=self.align_corners,
            )
