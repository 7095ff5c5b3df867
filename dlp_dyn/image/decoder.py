"""Scene -> RGBA glimpses, background, image, and masks."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn import geometry
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.networks import background_decoder, glimpse_decoder
from dlp_dyn.particles import Scene
from dlp_dyn.tree import TensorTree


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

    def __init__(self, cfg: DLPConfig) -> None:
        super().__init__()
        self.canvas = cfg.image_size
        self.align_corners = not cfg.compat.pixel_border_sampling
        self.glimpses = glimpse_decoder(cfg)
        self.background = background_decoder(cfg)

    def forward(self, scene: Scene, alpha_noise: float = 0.0) -> Decoded:
        p = scene.particles
        glimpses = self.glimpses(p.features.flatten(0, 1)).unflatten(0, p.features.shape[:2])
        background = self.background(scene.background)
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
