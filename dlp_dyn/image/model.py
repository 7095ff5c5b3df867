"""DLP: the image model. Encode an image into particles, decode particles, and the priors."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.decoder import Decoded, SceneDecoder
from dlp_dyn.image.encoder import SceneEncoder
from dlp_dyn.image.networks import build_networks
from dlp_dyn.nn import Stack
from dlp_dyn.particles import ParticleDistribution, Scene, SceneDistribution, beta, logit, most_visible
from dlp_dyn.settings import read_section
from dlp_dyn.sharing.mixin import SharedModel

_TIGHT_STD = 0.1  # of offset and scale in DLPv2's first phases
_TIGHT_TRANSPARENCY = (0.2, 0.1)


class DLP(SharedModel):
    """Deep latent particles for single images (DLPv2: arXiv 2306.05957; DLPv3: arXiv 2603.04553).

    Raises InputError when the settings cannot make a model.
    """

    def __init__(self, cfg: DLPConfig) -> None:
        super().__init__()
        networks = build_networks(cfg)
        self.cfg = cfg
        self.encoder = SceneEncoder(cfg, networks)
        self.decoder = SceneDecoder(cfg, networks)
        for layers in self.modules():
            if isinstance(layers, Stack):
                layers.recompute = cfg.networks.recompute
        self.to(memory_format=torch.channels_last)  # convolutions and upsampling are faster, on a CPU too

    @classmethod
    def from_config(cls, file: Path) -> "DLP":
        return cls(read_section(file, "model", DLPConfig))

    @classmethod
    def own_weights(cls, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """All of an image model's; of a video model's those of its image model."""
        parts = {k.removeprefix("image."): v for k, v in weights.items() if k.startswith("image.")}
        return parts or weights

    def sections(self) -> dict[str, object]:
        return {"model": self.cfg}

    def encode(self, images: Float[Tensor, "B C H W"]) -> SceneDistribution:
        """The posterior, every stage reading the means of the one before. Images in [0, 1]."""
        return self.encoder(images).posterior

    def decode(self, scene: Scene) -> Decoded:
        return self.decoder(self.drawn(scene))

    def drawn(self, scene: Scene) -> Scene:
        """The particles that are drawn: all, of a particle grid the `n_particles` most visible ones."""
        return most_visible(scene, self.cfg.n_particles) if self.cfg.encoder.grid else scene

    def masks(self, scene: Scene, decoded: Decoded) -> Float[Tensor, "B N H W"]:
        """The share of every pixel that each particle draws; the rest is background."""
        return self.decoder.masks(scene, decoded.glimpses)

    def proposals(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B M 2"]:
        """The keypoint of every patch, for pictures."""
        return self.encoder.keypoints(images)

    def start_from(self, picture: Float[Tensor, "3 H W"], colour: Float[Tensor, " 3"]) -> None:
        """Before training with a reference: the median frame, and the mean colour of what moves, both in [0, 1]."""
        assert self.encoder.reference is not None
        self.encoder.reference.picture.copy_(picture)
        self.decoder.start_from(picture, colour)

    def prior(self, anchors: Float[Tensor, "B N 2"], tight: bool = False) -> SceneDistribution:
        """The constant priors around anchors, as distributions that broadcast against the posterior.

        tight: those of DLPv2's first phases.
        """
        cfg = self.cfg
        offset_std = _TIGHT_STD if tight else cfg.prior.offset_std
        scale_std = _TIGHT_STD if tight else cfg.prior.scale_std
        a, b = _TIGHT_TRANSPARENCY if tight else cfg.prior.transparency
        fraction = cfg.prior.scale_fraction * cfg.glimpse_fraction
        one = anchors.new_ones(())
        standard = Normal(0 * one, one, validate_args=False)
        return SceneDistribution(
            ParticleDistribution(
                position=Normal(anchors, offset_std, validate_args=False),
                scale=Normal(logit(fraction, 1e-5) * one, scale_std * one, validate_args=False),
                depth=standard,
                transparency=beta(a * one, b * one),
                features=standard,
            ),
            standard,
        )
