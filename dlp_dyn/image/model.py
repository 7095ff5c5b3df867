"""DLP: the image model. Encode an image into particles, decode particles, and the terms of the loss."""

from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn import losses
from dlp_dyn.clip import Clip
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.decoder import Decoded, SceneDecoder
from dlp_dyn.image.encoder import Encoding, SceneEncoder
from dlp_dyn.image.phases import NORMAL, Phase
from dlp_dyn.nn import Stack
from dlp_dyn.particles import (
    ParticleDistribution,
    Scene,
    SceneDistribution,
    beta,
    logit,
    most_visible,
    rsample,
)
from dlp_dyn.perceptual import glimpse_error, reconstruction_error
from dlp_dyn.settings import read_section
from dlp_dyn.sharing.mixin import SharedModel

_TIGHT_STD = 0.1  # of offset and scale in DLPv2's first phases
_TIGHT_TRANSPARENCY = (0.2, 0.1)


class DLP(SharedModel):
    """Deep latent particles for single images (DLPv2: arXiv 2306.05957; DLPv3: arXiv 2603.04553).

    Raises InputError when the settings cannot make a model.
    """

    loss_keys = (
        "reconstruction",
        "kl_anchor",
        "kl_position",
        "kl_scale",
        "kl_depth",
        "kl_transparency",
        "kl_features",
        "kl_background",
        "transparency_sum",
        "off_centre",
        "opacity",
    )

    def __init__(self, cfg: DLPConfig) -> None:
        super().__init__()
        cfg.check()
        self.cfg = cfg
        self.encoder = SceneEncoder(cfg)
        self.decoder = SceneDecoder(cfg)
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

    def forward(self, clip: Clip, phase: Phase = NORMAL) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`loss`, under the name that lets wrappers such as DistributedDataParallel see it."""
        return self.loss(clip, phase)

    def encode(self, images: Float[Tensor, "B C H W"]) -> SceneDistribution:
        """The posterior, every stage reading the means of the one before. Images in [0, 1]."""
        return self.encoder(images).posterior

    def decode(self, scene: Scene) -> Decoded:
        """Draw scenes; of a particle grid the `n_particles` most visible ones."""
        return self.decoder(most_visible(scene, self.cfg.n_particles) if self.cfg.encoder.grid else scene)

    def masks(self, scene: Scene, decoded: Decoded) -> Float[Tensor, "B N H W"]:
        """The share of every pixel that each particle draws; the rest is background."""
        return self.decoder.masks(scene, decoded.glimpses)

    def proposals(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B M 2"]:
        """The keypoint of every patch, for pictures."""
        return self.encoder.proposals(self.encoder.trunk(images)).position

    def loss(self, clip: Clip, phase: Phase = NORMAL) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Unweighted terms and detached metrics, each of shape (B·T,): frames count as images."""
        images = clip.video.flatten(0, 1)
        encoding = self.encoder(images, rsample, phase)
        drawn = encoding.scene
        if phase.glimpse_loss:
            p = drawn.particles
            drawn = replace(drawn, particles=replace(p, position=p.position.detach(), scale=p.scale.detach()))
        decoded = self.decoder(drawn, phase)
        terms = self.terms(images, encoding, decoded, phase)
        with torch.no_grad():
            metrics = {
                "psnr": losses.psnr(images, decoded.image),
                "n_visible": encoding.scene.particles.transparency.sum((1, 2)),
            }
        return terms, metrics

    def terms(
        self, images: Float[Tensor, "B C H W"], encoding: Encoding, decoded: Decoded, phase: Phase = NORMAL
    ) -> dict[str, Float[Tensor, " B"]]:
        """The unweighted loss terms, summed over pixels, particles and dimensions."""
        q, prior = encoding.posterior, self.prior(encoding, phase)
        transparency = encoding.scene.particles.transparency
        mask = transparency.squeeze(-1) if self.cfg.mask_kl else torch.ones_like(transparency[..., 0])

        def masked(a: Normal, b: Normal) -> Tensor:
            return (losses.kl_normal(a, b) * mask).sum(-1)

        kl_transparency = losses.kl_beta(
            q.particles.transparency, prior.particles.transparency, self.cfg.compat.beta_kl_eps
        )
        return {
            "reconstruction": self.reconstruction(images, encoding, decoded, phase),
            "kl_anchor": losses.chamfer_kl(encoding.anchors, encoding.proposals.detach()),
            "kl_position": masked(q.particles.position, prior.particles.position),
            "kl_scale": masked(q.particles.scale, prior.particles.scale),
            "kl_depth": masked(q.particles.depth, prior.particles.depth),
            "kl_transparency": kl_transparency.sum(-1),
            "kl_features": masked(q.particles.features, prior.particles.features),
            "kl_background": losses.kl_normal(q.background, prior.background),
            "transparency_sum": transparency.sum((1, 2)).square(),
            "off_centre": losses.off_centre(decoded.glimpses[:, :, 3], decoded.transparency[..., 0]),
            "opacity": (decoded.glimpses[:, :, 3].mean((2, 3)) * decoded.transparency[..., 0]).sum(1),
        }

    def reconstruction(
        self, images: Float[Tensor, "B C H W"], encoding: Encoding, decoded: Decoded, phase: Phase = NORMAL
    ) -> Float[Tensor, " B"]:
        """The reconstruction error of each image or, in DLPv2's warm-up, of its glimpses.

        There the background's decoder gets gradients of zero, not none, as in the official code: Adam counts them, and
        when the warm-up ends its steps are several times `lr` for a while, so that the background is learned first.
        """
        if phase.glimpse_loss:
            error = glimpse_error(self.cfg.reconstruction, encoding.glimpses, decoded.glimpses[:, :, :3])
            return error + 0 * decoded.background.mean((1, 2, 3))
        return reconstruction_error(self.cfg.reconstruction, images, decoded.image)

    def prior(self, encoding: Encoding, phase: Phase = NORMAL) -> SceneDistribution:
        """The constant priors, as distributions that broadcast against the posterior."""
        cfg, like = self.cfg, encoding.anchors
        tight = phase.fixed_scale
        offset_std = _TIGHT_STD if tight else cfg.prior.offset_std
        scale_std = _TIGHT_STD if tight else cfg.prior.scale_std
        a, b = _TIGHT_TRANSPARENCY if tight else cfg.prior.transparency
        fraction = cfg.prior.scale_fraction * cfg.glimpse_fraction
        one = like.new_ones(())
        standard = Normal(0 * one, one, validate_args=False)
        return SceneDistribution(
            ParticleDistribution(
                position=Normal(like, offset_std, validate_args=False),
                scale=Normal(logit(fraction, 1e-5) * one, scale_std * one, validate_args=False),
                depth=standard,
                transparency=beta(a * one, b * one),
                features=standard,
            ),
            standard,
        )
