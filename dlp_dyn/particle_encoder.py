"""ParticleEncoder: pictures in, packed particles out; a trained image model as agents use it."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from dlp_dyn import checkpoint, config
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Part
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import IdentityConfig
from dlp_dyn.image.encoder import SceneEncoder
from dlp_dyn.image.matching import Matcher
from dlp_dyn.normalizer import Normalizer
from dlp_dyn.particles import ParticleLayout, Particles


class ParticleEncoder:
    """Posterior means of a trained image model, frozen, on one device.

    run: a run folder, a checkpoint folder or a Hugging Face id. hash: of the checkpoint's content. Slots have no
    meaning from frame to frame. The same frames in a batch of another size may differ in the last digits.

    Raises InputError when there is no such checkpoint, or the normalizer was fitted to another one.
    """

    def __init__(
        self, run: str | Path, device: torch.device | str = "cpu", normalizer: Normalizer | None = None
    ) -> None:
        self.run = str(run)
        self.hash = checkpoint.content_hash(run)
        self.device = torch.device(device)
        self.encoder = checkpoint.load_model(run, device).encoder.requires_grad_(False)
        cfg = self.encoder.cfg
        self.image_size, self.n_particles = cfg.image_size, cfg.n_particles
        self.layout = ParticleLayout(cfg.feature_dim)
        self.normalizer = normalizer
        if normalizer is not None and normalizer.encoder not in ("", self.hash):
            raise InputError(
                f"{run}: the normalizer was fitted to another encoder ({normalizer.encoder[:12]}, this one is "
                f"{self.hash[:12]}); fit it again"
            )
        if normalizer is not None and normalizer.layout != self.layout:
            raise InputError(
                f"{run}: the normalizer has {normalizer.layout.dim} columns, the particles have {self.layout.dim}; "
                "fit it again"
            )

    @property
    def bounds(self) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]:
        """The least and the largest value of each column."""
        high = np.full(self.layout.dim, np.inf if self.normalizer is None else self.normalizer.clip)
        low = -high
        transparency = self.layout.columns.index("transparency")
        low[transparency], high[transparency] = 0, 1
        return low, high

    def matcher(self) -> Matcher:
        """How particles of one frame are found again in the next: as the run's config has it, or by default."""
        file = checkpoint.resolve(self.run) / checkpoint.CONFIG
        cfg = IdentityConfig()
        if config.has_section(file, "identity"):
            cfg = config.read_section(file, "identity", IdentityConfig)
        return Matcher(cfg.patience, cfg.reach)

    def __call__(self, frames: Shaped[np.ndarray, "B H W C"]) -> Float[np.ndarray, "B N D"]:
        """Packed particles of uint8 RGB frames, normalised if there is a normalizer."""
        packed = self.raw(frames)
        return packed if self.normalizer is None else self.normalizer(packed)

    @torch.inference_mode()
    def raw(self, frames: Shaped[np.ndarray, "B H W C"]) -> Float[np.ndarray, "B N D"]:
        """As `__call__`, in the model's own units.

        Raises InputError for frames of another kind or size, and when the model gives no numbers.
        """
        side = self.image_size
        if frames.dtype != np.uint8 or frames.shape[1:] != (side, side, 3):
            raise InputError(
                f"frames are {frames.dtype} of shape {frames.shape[1:]}, the encoder {self.run} reads uint8 of "
                f"({side}, {side}, 3): resize them or use another encoder"
            )
        images = torch.from_numpy(frames).to(self.device).movedim(-1, -3).float().div_(255)
        packed = self.layout.pack(mean_particles(self.encoder, images)).cpu().numpy()
        if not np.isfinite(packed).all():
            raise InputError(
                f"{self.run}: gives NaN or infinite particles; its training diverged, use another checkpoint"
            )
        return packed


def mean_particles(encoder: SceneEncoder, images: Float[Tensor, "B 3 H W"]) -> Particles:
    """The mean particles alone.

    Nothing is decoded. The background is encoded only where interaction lets particles see it: without, they do not
    depend on it.
    """
    placed = encoder.place(images, encoder.locate(images))
    if encoder.interaction is not None:
        return encoder.describe(images, placed).scene.particles
    depth = placed.located.attributes.depth
    assert depth is not None
    features = encoder.appearance(placed.glimpses).chunk(2, -1)[0]
    return Particles(placed.position, placed.scale, depth.loc, placed.transparency, features.float())


def fit_normalizer(
    encoder: ParticleEncoder, data: str | Path, n_frames: int = 2000, part: Part = "train", chunk: int = 64
) -> Normalizer:
    """A normalizer for the encoder's particles of a rollout file: of `n_frames` frames evenly spread over a part."""
    rollouts = Rollouts(data)
    episodes = rollouts.part(part)
    if not len(episodes):
        raise InputError(f"{data}: no episode in the {part} part; choose another part or add episodes")
    rows = np.concatenate([np.arange(rollouts.episode_starts[i], rollouts.episode_ends[i]) for i in episodes])
    rows = rows[np.linspace(0, len(rows) - 1, min(n_frames, len(rows))).round().astype(int)]
    pieces = np.split(rows, range(chunk, len(rows), chunk))
    packed = np.concatenate([encoder.raw(rollouts.frames(piece)) for piece in pieces])
    return Normalizer.fit(packed, encoder.layout, encoder.hash)
