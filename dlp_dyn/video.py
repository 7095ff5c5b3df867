"""VideoModel: the image model, tracking, and dynamics. Encode clips, draw scenes, predict."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.dynamics.base import Conditions, Dynamics
from dlp_dyn.dynamics.build import SceneForm, build_dynamics
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.errors import InputError
from dlp_dyn.geometry import patch_centres
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.decoder import Decoded
from dlp_dyn.image.encoder import STANDARD, EncodeOptions, Encoding
from dlp_dyn.image.model import DLP
from dlp_dyn.particles import Draw, Scene, mean, most_visible, sampler
from dlp_dyn.settings import has_section, read_section, read_yaml
from dlp_dyn.sharing.mixin import SharedModel
from dlp_dyn.tracking.build import build_tracking
from dlp_dyn.tracking.config import TrackingConfig, read_tracking
from dlp_dyn.tracking.state import State
from dlp_dyn.tree import cat


@dataclass(frozen=True)
class VideoConfig:
    """The parts of a video model."""

    image: DLPConfig = field(default_factory=DLPConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    stride: int = 1
    """Frames of an episode from one frame of the model to the next, whose actions are then side by side."""


@dataclass(frozen=True)
class _Data:
    stride: int


class VideoModel(SharedModel):
    """Particles that move (DDLP: arXiv 2306.05957; the particle grid of LPWM: arXiv 2603.04553).

    dynamics: of another family than those of `cfg.dynamics`, whose window and width of actions they share.
    Raises InputError when the settings cannot make a model.
    """

    def __init__(self, cfg: VideoConfig, dynamics: Dynamics | None = None) -> None:
        super().__init__()
        self.cfg = cfg
        self.image = DLP(cfg.image)
        self.tracking = build_tracking(cfg.tracking, cfg.image)
        self.dynamics = dynamics or build_dynamics(cfg.dynamics, _form(cfg))

    @classmethod
    def from_config(cls, file: Path) -> "VideoModel":
        """Raises InputError for the config of a model of single images."""
        dynamics = DynamicsConfig()
        if has_section(file, "dynamics"):
            dynamics = read_section(file, "dynamics", DynamicsConfig)
        if dynamics.kind == "none":
            raise InputError(
                f"{file.parent}: a model of single images, it has no dynamics; train some on it, "
                f"with the preset video and image={file.parent}"
            )
        image = read_section(file, "model", DLPConfig)
        return cls(VideoConfig(image, read_tracking(file), dynamics, read_stride(file)))

    def sections(self) -> dict[str, object]:
        data: dict[str, object] = {"data": _Data(self.cfg.stride)} if self.cfg.stride > 1 else {}
        return data | {
            "model": self.cfg.image,
            "tracking": self.cfg.tracking,
            "dynamics": self.cfg.dynamics,
        }

    def encode(
        self,
        video: Float[Tensor, "B T C H W"],
        state: State = None,
        draw: Draw = mean,
        options: EncodeOptions = STANDARD,
    ) -> tuple[Encoding, State]:
        """Particles with a slot each; going on from a state gives the numbers of the whole clip.

        Raises InputError for rows that are not all views of some scenes.
        """
        views = self.cfg.image.encoder.views
        if views > 1 and video.shape[0] % views:
            raise InputError(
                f"{video.shape[0]} clips, the model sees {views} views of each scene together: give the clips of all "
                "views, scene by scene"
            )
        return self.tracking.encode(self.image.encoder, video, draw, options, state)

    @torch.no_grad()
    def follow(self, chunks: Iterable[Float[Tensor, "B _ C H W"]]) -> Scene:
        """The scenes of a long video that comes in chunks, so that memory does not grow with it."""
        state, scenes = None, []
        for chunk in chunks:
            encoding, state = self.encode(chunk, state)
            scenes.append(encoding.scene)
        return cat(scenes, 1)

    def decode(self, scene: Scene) -> Decoded:
        """Draw a batch of scenes; of a particle grid, as many as the image model has slots, the most visible ones."""
        return self.image.decode(self.drawn(scene))

    def drawn(self, scene: Scene) -> Scene:
        """The particles that are drawn."""
        return most_visible(scene, self.cfg.image.n_particles) if self.cfg.tracking.kind == "grid" else scene

    def draw(self, scene: Scene, chunk: int = 64) -> Iterator[tuple[Scene, Decoded]]:
        """Decode scenes over (B, T) in chunks of `chunk` images, so that memory does not grow with them."""
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
        conditions = Conditions(actions, None if goals is None else goals.map(repeated), language)
        state = self.dynamics.start(context, conditions, latent)
        draw = sampler(generator) if samples else mean
        return rollout(self.dynamics, context, horizon, conditions, draw, state)

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


def _form(cfg: VideoConfig) -> SceneForm:
    """What the dynamics have to know of the image model and the tracking."""
    image, grid = cfg.image, cfg.tracking.kind == "grid"
    return SceneForm(
        image.n_patches if grid else image.n_particles,
        image.feature_dim,
        image.background_dim,
        image.glimpse_fraction,
        image.encoder.views,
        patch_centres(image.image_size, image.patch_size) if grid else None,
    )


def read_stride(file: Path) -> int:
    """The time stride of a run's config file; 1 where it has none."""
    return int(read_yaml(file)["data"].get("stride", 1)) if has_section(file, "data") else 1
