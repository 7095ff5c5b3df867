"""The objective of DLPv1: reconstruction, the Chamfer term between particles and proposals, KL of features."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn import geometry, metrics
from dlp_dyn.clip import Clip
from dlp_dyn.image.keypoint_vae.encoder import KeypointEncoding, exclusive
from dlp_dyn.image.keypoint_vae.model import KeypointDecoding, KeypointVAE
from dlp_dyn.objectives.base import Losses, Objective
from dlp_dyn.objectives.config import STEADY, ScheduleConfig
from dlp_dyn.objectives.reconstruction import glimpse_error, reconstruction_error
from dlp_dyn.objectives.terms import kl_normal
from dlp_dyn.particles import Draw, rsample

_ALPHA_NOISE = 0.1
_VIEW, _PRIOR_VIEW = 0.1, 1.0  # strengths of the warps of a pair; the second comes on top of the first


@dataclass(frozen=True)
class KeypointWeights:
    """Weights of the terms: sums over pixels, particles and dimensions, means over the batch."""

    reconstruction: float = 1.0
    """0 or more: pixels (or perceptual features) that are drawn wrong."""
    kl_anchor: float = 0.05
    """0 or more: particles and proposals lie together (Chamfer); also the only signal that proposals learn from."""
    kl_features: float = 5e-5
    """0 or more: numbers of appearance that are not needed go unused."""


class KeypointElbo(Objective):
    """DLPv1's evidence lower bound (arXiv 2205.15821, section 4), with its warm-up.

    Frames may be larger than the model's images: pairs of views are warped first and cut after.
    sample: how latents are drawn from the posterior; `mean` trains without noise.
    """

    Weights = KeypointWeights
    model: KeypointVAE

    def __init__(self, model: KeypointVAE, schedule: ScheduleConfig = STEADY, sample: Draw = rsample) -> None:
        super().__init__(model)
        self.schedule, self.sample = schedule, sample

    def forward(self, batch: Clip, update: str = "model", step: int = 1) -> Losses:  # noqa: ARG002
        frames = batch.video.flatten(0, 1)
        images, seen_by_prior = warped_pair(frames) if self.model.cfg.warped_pairs else (frames, frames)
        side = self.model.cfg.image_size
        return self.losses(cut(images, side), cut(seen_by_prior, side), step)

    def losses(
        self,
        images: Float[Tensor, "B 3 H W"],
        seen_by_prior: Float[Tensor, "B 3 H W"],
        step: int,
    ) -> Losses:
        """Terms and metrics of each image."""
        glimpses_only = step <= self.schedule.warm_up_steps
        noisy = step <= self.schedule.warm_up_steps + self.schedule.noisy_steps
        masks = partial(_exclusive, noisy=noisy) if self.model.cfg.exclusive_patches else None
        encoding = self.model.encoder(images, self.sample, masks)
        decoded = self.model.decode(
            encoding,
            torch.rand_like(encoding.transparency) if noisy else None,
            _ALPHA_NOISE if noisy else 0.0,
            with_background=not glimpses_only,
        )
        terms = keypoint_terms(
            self.model, images, encoding, decoded, self.model.prior(seen_by_prior), glimpses_only
        )
        on = encoding.transparency.detach().sum((1, 2))
        return Losses(terms, {"psnr": metrics.psnr(images, decoded.image.detach()), "n_visible": on})


def keypoint_terms(
    model: KeypointVAE,
    images: Float[Tensor, "B 3 H W"],
    encoding: KeypointEncoding,
    decoded: KeypointDecoding,
    proposals: Float[Tensor, "B M 2"],
    glimpses_only: bool = False,
) -> dict[str, Float[Tensor, " B"]]:
    """The unweighted terms. glimpses_only: the error of glimpses alone, as in the warm-up of the object model."""
    cfg = model.cfg
    kind = "raw_vgg" if cfg.reconstruction == "vgg" else "mse"
    if glimpses_only and decoded.glimpses is not None:
        error = glimpse_error(kind, encoding.glimpses, decoded.glimpses[:, :, :3])
    else:
        error = reconstruction_error(kind, images, decoded.image)
    standard = Normal(torch.zeros_like(error[0]), torch.ones_like(error[0]), validate_args=False)
    return {
        "reconstruction": error,
        "kl_anchor": chamfer(encoding.position_posterior, proposals, cfg.sigma, cfg.background_anchor),
        "kl_features": kl_normal(encoding.features_posterior, standard).sum(-1),
    }


def chamfer(
    posterior: Normal, proposals: Float[Tensor, "B M 2"], sigma: float, with_background: bool
) -> Float[Tensor, " B"]:
    """Each particle's divergence from its nearest proposal, and each proposal's nearest particle's from it."""
    last = posterior.loc.shape[1] if with_background else -1
    particles = Normal(posterior.loc[:, :last, None], posterior.scale[:, :last, None], validate_args=False)
    width = torch.full_like(proposals, sigma)[:, None]
    pairwise = kl_normal(particles, Normal(proposals[:, None], width, validate_args=False))
    return pairwise.amin(1).sum(-1) + pairwise.amin(2).sum(-1)


def _exclusive(masks: Tensor, transparency: Tensor, noisy: bool) -> Tensor:
    return exclusive(masks, torch.rand_like(transparency) if noisy else transparency)


def warped_pair(
    frames: Float[Tensor, "B 3 H W"],
) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 3 H W"]]:
    """A slight warp of each frame, and a strong warp of that: what particles and what proposals are read from.

    Rounded down to 256 levels, as the published data are.
    """
    view = geometry.warp(frames, _warps(len(frames), _VIEW, frames))
    other = geometry.warp(view, _warps(len(frames), _PRIOR_VIEW, frames))
    return _levels(view), _levels(other)


def _warps(n: int, strength: float, like: Tensor) -> Tensor:
    return geometry.random_warps(n, strength, strength).to(like)


def _levels(images: Tensor) -> Tensor:
    return (images * 255).floor() / 255


def cut(images: Float[Tensor, "B 3 H W"], side: int) -> Float[Tensor, "B 3 S S"]:
    """The middle of square images."""
    margin = (images.shape[-1] - side) // 2
    return images[..., margin : margin + side, margin : margin + side]
