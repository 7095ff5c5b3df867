"""The objective of an image model: reconstruction, KL terms, and what keeps particles few and centred."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn import metrics
from dlp_dyn.clip import Clip
from dlp_dyn.image.decoder import Decoded
from dlp_dyn.image.encoder import Encoding
from dlp_dyn.image.model import DLP
from dlp_dyn.image.proposals import gather
from dlp_dyn.objectives import terms
from dlp_dyn.objectives.base import Losses, Objective
from dlp_dyn.objectives.config import STEADY, UNPRICED, ImageWeights, PriceConfig, ScheduleConfig
from dlp_dyn.objectives.exchange import exchange
from dlp_dyn.objectives.prices import Prices, drawn_share, moving_pixels
from dlp_dyn.objectives.reconstruction import glimpse_error, reconstruction_error
from dlp_dyn.objectives.schedules import NORMAL, Phase, phase_at
from dlp_dyn.particles import Draw, Scene, gate_of, rsample

_PART = 4.0  # an object may be missed where there is more than one of so many parts of its energy


class ImageElbo(Objective):
    """The evidence lower bound of single images (DLPv2: arXiv 2306.05957; DLPv3: arXiv 2603.04553).

    sample: how latents are drawn from the posterior; `mean` trains without noise.
    """

    Weights = ImageWeights
    model: DLP

    def __init__(
        self,
        model: DLP,
        schedule: ScheduleConfig = STEADY,
        sample: Draw = rsample,
        prices: PriceConfig = UNPRICED,
    ) -> None:
        super().__init__(model)
        self.schedule, self.sample, self.prices = schedule, sample, Prices(prices)
        self._run = self.losses

    def compile(self, **options: Any) -> None:
        self._run = torch.compile(self.losses, **options)

    def forward(self, batch: Clip, update: str = "model", step: int = 1) -> Losses:  # noqa: ARG002
        return self._run(batch, phase_at(self.schedule, step))

    def losses(self, clip: Clip, phase: Phase = NORMAL) -> Losses:
        """Terms and metrics of each of the B·T frames: they count as images.

        Where appearances are exchanged, clips are of two frames.
        """
        images = clip.video.flatten(0, 1)
        prices = self.prices
        reached = prices.reached.clone()  # `watch` changes it before the backward pass
        encoding = self.model.encoder(images, self.sample, replace(phase.encode, whole=reached))
        scene = rendered(encoding.scene, phase)
        if prices.cfg.exchange and clip.video.shape[1] == 2:
            scene = exchange(scene, prices.cfg.exchange * reached)
        decoded = self.model.decoder(scene, phase.alpha_noise, reached)
        threshold, reference = prices.cfg.threshold, self.model.encoder.reference
        terms = prices(image_terms(self.model, images, encoding, decoded, phase, prices.cfg))
        with torch.no_grad():
            shown = {
                "psnr": metrics.psnr(images, decoded.image),
                "n_visible": encoding.scene.particles.transparency.sum((1, 2)),
            }
            if reference is not None:
                share = drawn_share(images, decoded.image, reference.difference(images), threshold)
                prices.watch(share)
                shown |= {"drawn_share": share.expand(len(images)), "price": prices.price.expand(len(images))}
        return Losses(terms, shown)


def rendered(scene: Scene, phase: Phase) -> Scene:
    """The scene that is drawn: in DLPv2's warm-up, drawing does not move or resize particles."""
    if not phase.glimpse_loss:
        return scene
    p = scene.particles
    return replace(scene, particles=replace(p, position=p.position.detach(), scale=p.scale.detach()))


def image_terms(
    model: DLP,
    images: Float[Tensor, "B C H W"],
    encoding: Encoding,
    decoded: Decoded,
    phase: Phase = NORMAL,
    prices: PriceConfig = UNPRICED,
) -> dict[str, Float[Tensor, " B"]]:
    """The unweighted terms, summed over pixels, particles and dimensions."""
    q, prior = encoding.posterior, model.prior(encoding.anchors, phase.tight_priors)
    transparency = encoding.scene.particles.transparency
    mask = transparency.squeeze(-1) if model.cfg.mask_kl else torch.ones_like(transparency[..., 0])

    def masked(a: Normal, b: Normal) -> Tensor:
        return (terms.kl_normal(a, b) * mask).sum(-1)

    kl_transparency = terms.kl_beta(
        q.particles.transparency, prior.particles.transparency, model.cfg.compat.beta_kl_eps
    )
    return {
        "reconstruction": reconstruction(model, images, encoding, decoded, phase),
        "kl_anchor": terms.chamfer_kl(encoding.anchors, encoding.proposals.detach()),
        "kl_position": masked(q.particles.position, prior.particles.position),
        "kl_scale": masked(q.particles.scale, prior.particles.scale),
        "kl_depth": masked(q.particles.depth, prior.particles.depth),
        "kl_transparency": kl_transparency.sum(-1),
        "kl_features": masked(q.particles.features, prior.particles.features),
        "kl_background": terms.kl_normal(q.background, prior.background),
        "transparency_sum": transparency.sum((1, 2)).square(),
        "off_centre": off_centre(model, encoding, decoded),
        "opacity": (decoded.glimpses[:, :, 3].mean((2, 3)) * decoded.transparency[..., 0]).sum(1),
        "spill": spill(model, images, decoded, prices.threshold),
        "missed": missed(model, images, encoding, decoded, prices.object_energy),
        "particles": transparency.sum((1, 2)),
    }


def off_centre(model: DLP, encoding: Encoding, decoded: Decoded) -> Float[Tensor, " B"]:
    """How far particles lie from the middle of what they draw; with a reference, of what they draw that moves.

    A particle off the middle of its thing could make up for it with ground drawn on the other side.
    """
    alpha, transparency = decoded.glimpses[:, :, 3], decoded.transparency
    if model.encoder.reference is not None:
        if encoding.visible_index is not None:  # of a grid only those particles have glimpses
            alpha = gather(alpha.flatten(2), encoding.visible_index).unflatten(2, alpha.shape[2:])
            transparency = gather(transparency, encoding.visible_index)
        energy = encoding.glimpses[:, :, 3:].square().sum(2)
        alpha = alpha * F.interpolate(energy, alpha.shape[2:], mode="bilinear", align_corners=True)
    return terms.off_centre(alpha, transparency[..., 0])


def spill(
    model: DLP, images: Float[Tensor, "B C H W"], decoded: Decoded, threshold: float
) -> Float[Tensor, " B"]:
    """Pixels that stand still but are covered by particles, in areas of a glimpse; 0 without a reference.

    A particle that paints the ground about a thing is larger than the thing, and need not be in its middle.
    """
    reference = model.encoder.reference
    if reference is None:
        return images.new_zeros(len(images))
    still = ~moving_pixels(reference.difference(images), threshold)
    return ((1 - decoded.background_weight) * still).sum((1, 2, 3)) / model.cfg.glimpse_size**2


def missed(
    model: DLP,
    images: Float[Tensor, "B C H W"],
    encoding: Encoding,
    decoded: Decoded,
    object_energy: float,
) -> Float[Tensor, " B"]:
    """Surprisal that particles are off where a good part of an object moves, and less than half of that is drawn; 0
    without an `object_energy`.

    Nothing that is drawn tells a particle that is off what it misses.
    """
    reference, transparency = model.encoder.reference, encoding.posterior.particles.transparency
    if reference is None or not object_energy:
        return images.new_zeros(len(images))
    with torch.no_grad():
        energy = reference.difference(images).square().sum(1)
        undrawn = torch.minimum(energy, (images - decoded.image).square().sum(1))
        there = reference.near(torch.stack([energy, undrawn], 1), encoding.scene.particles.position)
        large = (_PART * reference.window**2 * there[:, 0] / object_energy - 1).clamp(0, 1)
        share = large * (2 * there[:, 1] / (there[:, 0] + 1e-6) - 1).clamp_min(0)
    return (F.softplus(-gate_of(transparency)[..., 0]) * share).sum(1)


def reconstruction(
    model: DLP,
    images: Float[Tensor, "B C H W"],
    encoding: Encoding,
    decoded: Decoded,
    phase: Phase = NORMAL,
) -> Float[Tensor, " B"]:
    """The reconstruction error of each image or, in DLPv2's warm-up, of its glimpses.

    There the background's decoder gets gradients of zero, not none, as in the official code: Adam counts them, and
    when the warm-up ends its steps are several times `lr` for a while, so that the background is learned first.
    """
    if phase.glimpse_loss:
        error = glimpse_error(model.cfg.reconstruction, encoding.glimpses, decoded.glimpses[:, :, :3])
        return error + 0 * decoded.background.mean((1, 2, 3))
    return reconstruction_error(model.cfg.reconstruction, images, decoded.image)
