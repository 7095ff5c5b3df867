"""VideoModel: the image model, an identity over time, and dynamics. Encode clips, the terms of the loss, predict."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn import losses
from dlp_dyn.clip import Clip, SceneClip
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.dynamics.graph import GraphDynamics
from dlp_dyn.dynamics.latent_actions import LatentActionDynamics
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.dynamics.transformer import TransformerDynamics
from dlp_dyn.errors import InputError
from dlp_dyn.geometry import patch_centres
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.decoder import Decoded
from dlp_dyn.image.encoder import Encoding
from dlp_dyn.image.model import DLP
from dlp_dyn.image.phases import NORMAL, Phase
from dlp_dyn.particles import Draw, Particles, Scene, SceneDistribution, mean, most_visible, rsample, sampler
from dlp_dyn.rollout_loss import ROLLOUT_KEYS, rollout_terms
from dlp_dyn.settings import has_section, read_section
from dlp_dyn.sharing.mixin import SharedModel
from dlp_dyn.tracking.build import build_tracking
from dlp_dyn.tracking.config import TrackingConfig
from dlp_dyn.tracking.state import State
from dlp_dyn.tracking.tracker import Tracker


@dataclass(frozen=True)
class VideoConfig:
    """The parts of a video model."""

    image: DLPConfig = field(default_factory=DLPConfig)
    identity: TrackingConfig = field(default_factory=TrackingConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)


class VideoModel(SharedModel):
    """Particles that move (DDLP: arXiv 2306.05957; the particle grid of LPWM: arXiv 2603.04553).

    Raises InputError when the settings cannot make a model.
    """

    dynamic_keys = (
        "reconstruction_dynamic",
        "dynamic_position",
        "dynamic_scale",
        "dynamic_depth",
        "dynamic_transparency",
        "dynamic_features",
        "dynamic_background",
    )

    def __init__(self, cfg: VideoConfig) -> None:
        super().__init__()
        cfg.dynamics.check()
        if cfg.dynamics.kind == "none":
            raise InputError("dynamics.kind=none makes no video model: use graph or transformer")
        self.cfg = cfg
        self.image = DLP(cfg.image)
        self.identity = build_tracking(cfg.identity, cfg.image)
        self.frozen = False
        self._terms = self._ramped_terms
        image, d = cfg.image, cfg.dynamics
        if d.kind == "graph":
            self.dynamics = GraphDynamics(d, image.feature_dim, image.background_dim)
        elif d.kind == "latent_actions":
            if cfg.identity.kind != "grid":
                raise InputError(
                    "dynamics.kind=latent_actions moves every patch's particle, and identity.kind is "
                    f"{cfg.identity.kind}: set it to grid"
                )
            self.dynamics = LatentActionDynamics(
                d.latent_actions,
                image.feature_dim,
                image.background_dim,
                patch_centres(image.image_size, image.patch_size),
                d.window,
                image.glimpse_fraction,
                d.action_dim,
                image.encoder.views,
            )
        else:
            n = image.n_patches if cfg.identity.kind == "grid" else image.n_particles
            self.dynamics = TransformerDynamics(d, n, image.feature_dim, image.background_dim)

    @classmethod
    def from_config(cls, file: Path) -> "VideoModel":
        """Raises InputError for the config of a model of single images."""
        dynamics = DynamicsConfig()
        if has_section(file, "dynamics"):
            dynamics = read_section(file, "dynamics", DynamicsConfig)
        if dynamics.kind == "none":
            raise InputError(
                f"{file.parent}: a model of single images, it has no dynamics; train some on it with "
                f"dlp-dyn train balls_video image={file.parent}"
            )
        image = read_section(file, "model", DLPConfig)
        return cls(VideoConfig(image, read_section(file, "identity", TrackingConfig), dynamics))

    def sections(self) -> dict[str, object]:
        return {"model": self.cfg.image, "identity": self.cfg.identity, "dynamics": self.cfg.dynamics}

    @property
    def loss_keys(self) -> tuple[str, ...]:
        """Names of the terms: of joint training, or of the second stage after `freeze_image`."""
        if self.frozen:
            return ROLLOUT_KEYS
        return (*self.image.loss_keys, *self.dynamic_keys)

    def freeze_image(self) -> None:
        """From now on only the dynamics learn."""
        self.image.requires_grad_(False)
        self.frozen = True

    def train(self, mode: bool = True) -> "VideoModel":
        super().train(mode)
        if self.frozen:
            self.image.eval()
        return self

    def compile(self, **options: Any) -> None:
        """Compile what training runs; options of `torch.compile`.

        A model that tracks is compiled in parts. As a whole its loop over frames would be unrolled, and compiling take
        as many times as long.
        """
        if isinstance(self.identity, Tracker) and not self.frozen:
            self.identity.compile(**options)
            self._terms = torch.compile(self._ramped_terms, **options)
        else:
            super().compile(**options)

    def forward(
        self, clip: Clip | SceneClip, phase: Phase = NORMAL
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`loss` or `rollout_loss`, under the name that lets wrappers see it."""
        return self.rollout_loss(clip, phase) if isinstance(clip, SceneClip) else self.loss(clip, phase)

    def encode(
        self,
        video: Float[Tensor, "B T C H W"],
        state: State = None,
        draw: Draw = mean,
        phase: Phase = NORMAL,
    ) -> tuple[Encoding, State]:
        """Particles with a slot each; going on from a state gives the numbers of the whole clip."""
        return self.identity.encode(self.image.encoder, video, draw, phase, state)

    def decode(self, scene: Scene) -> Decoded:
        """Draw a batch of scenes; of a particle grid, as many as the image model has slots, the most visible ones."""
        return self.image.decode(self.drawn(scene))

    def drawn(self, scene: Scene) -> Scene:
        """The particles that are drawn."""
        return most_visible(scene, self.cfg.image.n_particles) if self.cfg.identity.kind == "grid" else scene

    def draw(self, scene: Scene, chunk: int = 64) -> Iterator[tuple[Scene, Decoded]]:
        """Decode scenes over (B, T) in pieces of `chunk` images, so that memory does not grow with them."""
        flat = self.drawn(scene.map(lambda x: x.flatten(0, 1)))
        for begin in range(0, len(flat.background), chunk):
            piece = flat[begin : begin + chunk]
            yield piece, self.image.decode(piece)

    @torch.no_grad()
    def images(self, scene: Scene) -> Float[Tensor, "B T 3 H W"]:
        """The pictures of scenes over (B, T)."""
        pictures = torch.cat([decoded.image for _, decoded in self.draw(scene)])
        return pictures.unflatten(0, scene.background.shape[:2])

    @torch.no_grad()
    def predict(
        self,
        video: Float[Tensor, "B T C H W"],
        horizon: int,
        actions: Float[Tensor, "B U A"] | None = None,
        samples: int = 0,
        generator: torch.Generator | None = None,
        goal: Float[Tensor, "B C H W"] | None = None,
        language: Float[Tensor, "b L E"] | None = None,
        latent: Float[Tensor, "B K N Z"] | None = None,
    ) -> Scene:
        """Scenes of the context frames and of `horizon` frames after them.

        samples: 0 gives the most likely future, over (B, T, ...); more give so many random ones, over (samples * B, T,
        ...), sample by sample. actions: from the first frame on, T + horizon - 1 or more. goal, language, latent: a
        picture to reach, tokens of a text, and latent actions from the first frame on, for dynamics that have them.
        Raises InputError for a horizon below 1, actions that do not fit, and frames that are not numbers.
        """
        n_frames = video.shape[1]
        self.check_actions(actions, n_frames + horizon - 1)
        if horizon < 1:
            raise InputError(f"horizon {horizon}: predict 1 frame or more")
        if not torch.isfinite(video).all():
            raise InputError(
                "the context frames hold NaN or infinite values: look at the source of the video"
            )
        context = self.encode(video)[0].scene
        goals = None if goal is None else self.encode(goal[:, None])[0].scene[:, 0]

        def repeated(x: Tensor) -> Tensor:
            return x.repeat(max(samples, 1), *[1] * (x.ndim - 1))

        context = context.map(repeated)
        actions, language, latent = (None if x is None else repeated(x) for x in (actions, language, latent))
        if isinstance(self.dynamics, LatentActionDynamics):
            conditions = Conditions(actions, None if goals is None else goals.map(repeated), language)
            state = self.dynamics.start(context, conditions, latent, sampler(generator) if samples else mean)
            return rollout(self.dynamics, context, horizon, actions, memory=state)
        if goal is not None or language is not None or latent is not None:
            raise InputError(
                f"goals, texts and latent actions steer dynamics.kind=latent_actions, this model's is "
                f"{self.cfg.dynamics.kind}: leave them out"
            )
        return rollout(self.dynamics, context, horizon, actions, samples > 0, generator)

    @torch.no_grad()
    def latent_actions(
        self,
        video: Float[Tensor, "B T C H W"],
        actions: Float[Tensor, "B U A"] | None = None,
        goal: Float[Tensor, "B C H W"] | None = None,
        language: Float[Tensor, "b L E"] | None = None,
    ) -> Float[Tensor, "B U N Z"]:
        """The mean latent actions of every particle and the background between the frames of clips.

        Raises InputError for a model without them, and for conditions that do not fit.
        """
        if not isinstance(self.dynamics, LatentActionDynamics):
            raise InputError(
                f"dynamics.kind={self.cfg.dynamics.kind} has no latent actions: use a model with latent_actions"
            )
        goals = None if goal is None else self.encode(goal[:, None])[0].scene[:, 0]
        conditions = Conditions(actions, goals, language)
        return self.dynamics.infer(self.encode(video)[0].scene, conditions)

    def check_actions(self, actions: Tensor | None, least: int) -> None:
        """Raise InputError for actions that are missing, too few, too wide or too narrow."""
        width = self.cfg.dynamics.action_dim
        if width == 0:
            return
        if actions is None:
            raise InputError(
                f"the model was trained with actions of width {width}, and there are none: give them"
            )
        if actions.shape[-1] != width:
            raise InputError(
                f"actions of width {actions.shape[-1]}, the model was trained with width {width}"
            )
        if actions.shape[1] < least:
            raise InputError(
                f"{actions.shape[1]} actions, {least} are needed: give more or shorten the horizon"
            )

    def loss(self, clip: Clip, phase: Phase = NORMAL) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Unweighted terms, sums over the clip divided by its length, and detached metrics, each of shape (B,)."""
        video = clip.video
        if video.shape[1] <= self.cfg.identity.static_frames:
            raise InputError(
                f"clips of {video.shape[1]} frames, the first identity.static_frames={self.cfg.identity.static_frames} "
                "have no prior from dynamics: use a larger data.clip_length"
            )
        self.check_actions(clip.actions, video.shape[1] - 1)
        encoding, _ = self.encode(video, None, rsample, phase)
        terms, pictures = self._terms(video, encoding, clip.actions, phase, self._ramp(video, phase))
        with torch.no_grad():
            metrics = {
                "psnr": losses.psnr(video.flatten(0, 1), pictures),
                "n_visible": encoding.scene.particles.transparency.sum((-1, -2)).flatten(),
            }
        return terms, metrics

    def terms(
        self,
        video: Float[Tensor, "B T C H W"],
        encoding: Encoding,
        actions: Float[Tensor, "B T A"] | None = None,
        phase: Phase = NORMAL,
    ) -> tuple[dict[str, Float[Tensor, " B"]], Float[Tensor, "F C H W"]]:
        """The unweighted terms of the joint loss (DDLP, section 4.3), and the reconstructed frames."""
        return self._ramped_terms(video, encoding, actions, phase, self._ramp(video, phase))

    def _ramp(self, video: Float[Tensor, "B T C H W"], phase: Phase) -> Float[Tensor, " U"]:
        """How much each frame counts whose prior the dynamics are."""
        frame = torch.arange(1.0, video.shape[1] - self.cfg.identity.static_frames + 1, device=video.device)
        return (phase.later_frames / frame).clamp_max(1)

    def _ramped_terms(
        self,
        video: Float[Tensor, "B T C H W"],
        encoding: Encoding,
        actions: Float[Tensor, "B T A"] | None,
        phase: Phase,
        ramp: Float[Tensor, " U"],
    ) -> tuple[dict[str, Float[Tensor, " B"]], Float[Tensor, "F C H W"]]:
        b, n_frames = video.shape[:2]
        first = self.cfg.identity.static_frames
        scene = encoding.scene
        flat = scene.map(lambda x: x.flatten(0, 1))
        if phase.glimpse_loss:
            p = flat.particles
            still = Particles(p.position.detach(), p.scale.detach(), p.depth, p.transparency, p.features)
            flat = Scene(still, flat.background)
        decoded = self.image.decoder(self.drawn(flat), phase)

        def static(x: Tensor) -> Tensor:
            return x.unflatten(0, (b, n_frames))[:, :first].flatten(0, 1)

        def over_clip(x: Tensor, frames: int) -> Tensor:
            return x.unflatten(0, (b, frames)).sum(1) / n_frames

        early = encoding.map(lambda x: x[:, :first].flatten(0, 1))
        drawn = decoded.map(static)
        terms = self.image.terms(video[:, :first].flatten(0, 1), early, drawn, phase)
        terms = {key: over_clip(term, first) for key, term in terms.items()}

        def ramped(x: Float[Tensor, "B U"]) -> Tensor:
            return (ramp * x).sum(1) / n_frames

        errors = self.image.reconstruction(video.flatten(0, 1), flat_encoding(encoding), decoded, phase)
        terms["reconstruction_dynamic"] = ramped(errors.unflatten(0, (b, n_frames))[:, first:])
        past = scene[:, :-1]
        prior = self.dynamics(past, None if actions is None else actions[:, : n_frames - 1])[:, first - 1 :]
        posterior = encoding.posterior[:, first:]
        mask = scene.particles.transparency[:, first:, :, 0]
        for name, kl in self._dynamic_kl(posterior, prior, mask).items():
            terms[name] = ramped(kl)
        return terms, decoded.image

    def _dynamic_kl(
        self, posterior: SceneDistribution, prior: SceneDistribution, visible: Float[Tensor, "B T N"]
    ) -> dict[str, Float[Tensor, "B T"]]:
        mask = visible if self.cfg.image.mask_kl else torch.ones_like(visible)
        p, q = posterior.particles, prior.particles

        def kl(a: Normal, b: Normal) -> Tensor:
            return (losses.kl_normal(a, b) * mask).sum(-1)

        transparency = losses.kl_beta(p.transparency, q.transparency, self.cfg.image.compat.beta_kl_eps)
        return {
            "dynamic_position": kl(p.position, q.position),
            "dynamic_scale": kl(p.scale, q.scale),
            "dynamic_depth": kl(p.depth, q.depth),
            "dynamic_transparency": transparency.sum(-1),
            "dynamic_features": kl(p.features, q.features),
            "dynamic_background": losses.kl_normal(posterior.background, prior.background),
        }

    def rollout_loss(
        self, clip: SceneClip, phase: Phase = NORMAL
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The second stage: `rollout_terms` of 1 + phase.later_frames steps, or of as many as the clip has."""
        d = self.cfg.dynamics
        n_steps = clip.scene.background.shape[1] - d.window
        if math.isfinite(phase.later_frames):
            n_steps = min(n_steps, 1 + int(phase.later_frames))
        terms = rollout_terms(self.dynamics, clip, n_steps, d.graph.motion_scale)
        return terms, {"distance": d.graph.motion_scale * terms["rollout_position"].detach()}


def flat_encoding(encoding: Encoding) -> Encoding:
    """Clips as a batch of frames."""
    return encoding.map(lambda x: x.flatten(0, 1))
