"""The objective of a whole video model on clips: the dynamics are the prior of all but the first frames."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn import metrics
from dlp_dyn.clip import Clip
from dlp_dyn.dynamics.base import NOTHING, Conditions, Prediction
from dlp_dyn.errors import InputError
from dlp_dyn.image.decoder import Decoded
from dlp_dyn.image.encoder import Encoding
from dlp_dyn.objectives import terms
from dlp_dyn.objectives.base import Losses, Objective
from dlp_dyn.objectives.config import STEADY, ClipWeights, ScheduleConfig
from dlp_dyn.objectives.image_elbo import image_terms, reconstruction, rendered
from dlp_dyn.objectives.schedules import NORMAL, Phase, later_frames, phase_at
from dlp_dyn.particles import Draw, SceneDistribution, rsample
from dlp_dyn.tracking.tracker import Tracker
from dlp_dyn.video import VideoModel


class ClipElbo(Objective):
    """The evidence lower bound of clips (DDLP, arXiv 2306.05957, section 4.3).

    Terms are sums over the clip divided by its length. sample: how latents are drawn from the posterior.
    """

    Weights = ClipWeights
    model: VideoModel

    def __init__(self, model: VideoModel, schedule: ScheduleConfig = STEADY, sample: Draw = rsample) -> None:
        super().__init__(model)
        self.schedule, self.sample = schedule, sample
        self._run, self._terms = self.losses, self.clip_terms

    def compile(self, **options: Any) -> None:
        """A model that tracks is compiled in parts: its loop over frames would be unrolled, and compiled as often."""
        if isinstance(self.model.tracking, Tracker):
            self.model.tracking.compile(**options)
            self._terms = torch.compile(self.clip_terms, **options)
        else:
            self._run = torch.compile(self.losses, **options)

    def forward(self, batch: Clip, update: str = "model", step: int = 1) -> Losses:  # noqa: ARG002
        n_frames = batch.frames.shape[1]
        first = self.static_frames(n_frames, step)
        if n_frames <= first:
            raise InputError(
                f"clips of {n_frames} frames, the first tracking.static_frames={first} have no prior from dynamics: "
                "use a larger data.clip_length"
            )
        self.model.check_actions(batch.actions, n_frames - 1)
        ramp = self.ramp(n_frames, step, batch.frames.device)
        return self._run(batch, phase_at(self.schedule, step), ramp)

    def static_frames(self, n_frames: int, step: int) -> int:  # noqa: ARG002 - one objective's depend on them
        """How many first frames of a clip keep the constant priors at a step."""
        return self.model.cfg.tracking.static_frames

    def ramp(self, n_frames: int, step: int, device: torch.device | None = None) -> Float[Tensor, " U"]:
        """How much each frame counts whose prior is the dynamics."""
        frame = torch.arange(1.0, n_frames - self.static_frames(n_frames, step) + 1, device=device)
        return (later_frames(self.schedule, step) / frame).clamp_max(1)

    def conditions(self, clip: Clip) -> Conditions:
        """What steers the dynamics."""
        return Conditions(clip.actions)

    def latent_terms(self, prediction: Prediction) -> dict[str, Float[Tensor, "B U"]]:  # noqa: ARG002
        """Terms of dynamics with latent actions, for every frame after the first."""
        return {}

    def losses(self, clip: Clip, phase: Phase, ramp: Float[Tensor, " U"]) -> Losses:
        video = clip.video
        encoding, _ = self.model.encode(video, None, self.sample, phase.encode)
        share = None if clip.alive is None else clip.alive / clip.alive.sum(1, keepdim=True)
        losses, pictures = self._terms(video, encoding, self.conditions(clip), phase, ramp, share)
        with torch.no_grad():
            shown = {
                "psnr": metrics.psnr(video.flatten(0, 1), pictures),
                "n_visible": encoding.scene.particles.transparency.sum((-1, -2)).flatten(),
            }
        return Losses(losses, shown)

    def clip_terms(
        self,
        video: Float[Tensor, "B T C H W"],
        encoding: Encoding,
        conditions: Conditions = NOTHING,
        phase: Phase = NORMAL,
        ramp: Float[Tensor, " U"] | None = None,
        share: Float[Tensor, "#B T"] | None = None,
    ) -> tuple[dict[str, Float[Tensor, " B"]], Float[Tensor, "F C H W"]]:
        """The unweighted terms of encoded clips, and the reconstructed frames.

        ramp: of the frames whose prior is the dynamics. share: of each frame in sums over clips; None is equal.
        """
        model = self.model
        b, n_frames = video.shape[:2]
        if ramp is None:
            ramp = video.new_ones(n_frames - model.cfg.tracking.static_frames)
        if share is None:
            share = video.new_full((1, n_frames), 1 / n_frames)
        first = n_frames - len(ramp)
        scene = encoding.scene
        drawn = encoding.drawn().map(lambda x: x.flatten(0, 1))
        decoded = model.image.decoder(rendered(drawn, phase), phase.alpha_noise)

        def static(x: Tensor) -> Tensor:
            return x.unflatten(0, (b, n_frames))[:, :first].flatten(0, 1)

        early = encoding.map(lambda x: x[:, :first].flatten(0, 1))
        shown = Decoded(*(static(getattr(decoded, name)) for name in Decoded.__dataclass_fields__))
        losses = image_terms(model.image, video[:, :first].flatten(0, 1), early, shown, phase)
        losses = {k: (share[:, :first] * term.unflatten(0, (b, first))).sum(1) for k, term in losses.items()}

        def ramped(x: Tensor) -> Tensor:
            return (ramp * share[:, first:] * x).sum(1)

        errors = reconstruction(model.image, video.flatten(0, 1), flat_encoding(encoding), decoded, phase)
        losses["reconstruction_dynamic"] = ramped(errors.unflatten(0, (b, n_frames))[:, first:])
        expected = self.model.dynamics(scene, conditions, self.sample)
        posterior = encoding.posterior[:, first:]
        visible = scene.particles.transparency[:, first:, :, 0]
        for name, kl in self._dynamic_kl(posterior, expected.scenes[:, first - 1 :], visible).items():
            losses[name] = ramped(kl)
        for name, term in self.latent_terms(expected).items():
            losses[name] = ramped(term[:, first - 1 :])
        return losses, decoded.image

    def _dynamic_kl(
        self, posterior: SceneDistribution, prior: SceneDistribution, visible: Float[Tensor, "B T N"]
    ) -> dict[str, Float[Tensor, "B T"]]:
        cfg = self.model.cfg.image
        mask = visible if cfg.mask_kl else torch.ones_like(visible)
        p, q = posterior.particles, prior.particles

        def kl(a: Normal, b: Normal) -> Tensor:
            return (terms.kl_normal(a, b) * mask).sum(-1)

        transparency = terms.kl_beta(p.transparency, q.transparency, cfg.compat.beta_kl_eps)
        return {
            "dynamic_position": kl(p.position, q.position),
            "dynamic_scale": kl(p.scale, q.scale),
            "dynamic_depth": kl(p.depth, q.depth),
            "dynamic_transparency": transparency.sum(-1),
            "dynamic_features": kl(p.features, q.features),
            "dynamic_background": terms.kl_normal(posterior.background, prior.background),
        }


def flat_encoding(encoding: Encoding) -> Encoding:
    """Clips as a batch of frames."""
    return encoding.map(lambda x: x.flatten(0, 1))
