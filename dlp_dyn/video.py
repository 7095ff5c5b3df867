"""VideoModel: the image model, an identity over time, and dynamics. Encode clips, draw scenes, predict."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

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
from dlp_dyn.image.encoder import STANDARD, EncodeOptions, Encoding
from dlp_dyn.image.model import DLP
from dlp_dyn.particles import Draw, Scene, mean, most_visible, sampler
from dlp_dyn.settings import has_section, read_section
from dlp_dyn.sharing.mixin import SharedModel
from dlp_dyn.tracking.build import build_tracking
from dlp_dyn.tracking.config import TrackingConfig
from dlp_dyn.tracking.state import State


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

    def __init__(self, cfg: VideoConfig) -> None:
        super().__init__()
        cfg.dynamics.check()
        if cfg.dynamics.kind == "none":
            raise InputError("dynamics.kind=none makes no video model: use graph or transformer")
        self.cfg = cfg
        self.image = DLP(cfg.image)
        self.identity = build_tracking(cfg.identity, cfg.image)
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

    def encode(
        self,
        video: Float[Tensor, "B T C H W"],
        state: State = None,
        draw: Draw = mean,
        options: EncodeOptions = STANDARD,
    ) -> tuple[Encoding, State]:
        """Particles with a slot each; going on from a state gives the numbers of the whole clip."""
        return self.identity.encode(self.image.encoder, video, draw, options, state)

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
