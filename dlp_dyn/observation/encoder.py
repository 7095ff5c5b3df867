"""ParticleEncoder: pictures in, packed particles out; a trained model of pictures as agents use it."""

from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from dlp_dyn import checkpoint
from dlp_dyn.clip import to_images
from dlp_dyn.data.writer import Part
from dlp_dyn.errors import InputError
from dlp_dyn.image.encoder import SceneEncoder
from dlp_dyn.observation.normalizer import Normalizer
from dlp_dyn.observation.traced import Traced
from dlp_dyn.observation.whole import WholePicture
from dlp_dyn.particles import ParticleLayout, Particles, most_visible
from dlp_dyn.soft_intro import families
from dlp_dyn.tracking.config import read_tracking


class ParticleEncoder:
    """Posterior means of a trained image model, frozen, on one device; of a Soft-IntroVAE one particle, `WholePicture`.

    run: a run folder, a checkpoint folder or a Hugging Face id. hash: of the checkpoint's content. Slots have no
    meaning from frame to frame. Nothing is drawn from global random generators. The same frame in a batch of another
    size may differ in the last digits.

    Raises InputError when there is no such checkpoint, one that chooses particles at random, or a normalizer that was
    fitted to another one.
    """

    def __init__(
        self, run: str | Path, device: torch.device | str = "cpu", normalizer: Normalizer | None = None
    ) -> None:
        folder = checkpoint.resolve(run)
        self.run = str(Path(run).absolute()) if Path(run).exists() else str(run)
        self.hash = checkpoint.content_hash(folder)
        self.device = torch.device(device)
        self.encoder = encoder_of(folder, device)
        self._fields = Traced(self._means) if self.device.type == "cpu" else self._means
        if isinstance(self.encoder, WholePicture):
            self.image_size, self.n_particles = self.encoder.image_size, 1
            self.layout = ParticleLayout(self.encoder.feature_dim)
        else:
            cfg = self.encoder.cfg
            self.image_size, self.n_particles = cfg.image_size, cfg.n_particles
            self.layout = ParticleLayout(cfg.feature_dim)
            if cfg.encoder.views > 1:
                raise InputError(
                    f"{run}: it sees {cfg.encoder.views} views of each scene together, an observation is encoded "
                    "picture by picture; use a model with model.encoder.views=1"
                )
            if cfg.encoder.selection == "random":
                raise InputError(
                    f"{run}: an encoder that chooses its particles at random (model.encoder.selection=random) sees "
                    "something else in each batch; train one with another selection"
                )
        self.tracking = read_tracking(folder / checkpoint.CONFIG)
        self.normalizer = normalizer
        if normalizer is not None and normalizer.encoder not in ("", self.hash):
            raise InputError(
                f"{run}: the normalizer was fitted to another encoder ({normalizer.encoder[:12]}, this one is "
                f"{self.hash[:12]}): fit it again"
            )
        if normalizer is not None and normalizer.layout != self.layout:
            raise InputError(
                f"{run}: the normalizer has {normalizer.layout.dim} columns, the particles have {self.layout.dim}: "
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
        if not len(frames):
            return np.zeros((0, self.n_particles, self.layout.dim), np.float32)
        images = to_images(frames, self.device)
        packed = torch.cat(self._fields(images), -1).cpu().numpy()
        if not np.isfinite(packed).all():
            raise InputError(
                f"{self.run}: gives NaN or infinite particles; its training diverged, use another checkpoint"
            )
        return packed

    def _means(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(mean_particles(self.encoder, images))


def encoder_of(run: str | Path, device: torch.device | str = "cpu") -> SceneEncoder | WholePicture:
    """The encoder of a run, frozen, in eval mode."""
    if families.is_intro(run):
        return WholePicture(run, device)
    return checkpoint.load_model(run, device).encoder.requires_grad_(False)


def mean_particles(encoder: SceneEncoder | WholePicture, images: Float[Tensor, "B 3 H W"]) -> Particles:
    """The mean particles alone; of a grid the most visible ones.

    Nothing is decoded. The background is encoded only where interaction lets particles see it: without, they do not
    depend on it.
    """
    if isinstance(encoder, WholePicture):
        return encoder(images)
    if encoder.cfg.encoder.grid:
        return most_visible(encoder(images).scene, encoder.cfg.n_particles).particles
    placed = encoder.place(images, encoder.locate(images))
    if encoder.interaction is not None:
        return encoder.describe(images, placed).scene.particles
    depth = placed.located.attributes.depth
    assert depth is not None
    features = encoder.appearance(placed.glimpses).chunk(2, -1)[0]
    return Particles(placed.position, placed.scale, depth.loc, placed.transparency, features.float())


def load_encoder(
    run: str | Path,
    hash: str | None = None,
    normalizer: str | Path | None = None,
    normalizer_hash: str | None = None,
    device: torch.device | str = "cpu",
) -> ParticleEncoder:
    """An encoder with its normalizer, as they were when the hashes were taken.

    Raises InputError when either has changed or is gone.
    """
    scale = None if normalizer is None else Normalizer.load(normalizer)
    encoder = ParticleEncoder(run, device, scale)
    found = (("encoder", run, hash, encoder.hash),)
    if scale is not None:
        found += (("normalizer", normalizer, normalizer_hash, scale.hash),)
    for what, where, wanted, is_now in found:
        if wanted not in (None, is_now):
            raise InputError(
                f"{where}: another {what} than the one that was recorded (hash {is_now[:12]}, not {wanted[:12]}): "
                "put that one back"
            )
    return encoder


class Recorded(TypedDict):
    """Arguments of `load_encoder`, ready for JSON."""

    run: str
    hash: str
    normalizer: str | None
    normalizer_hash: str | None


def recorded(encoder: ParticleEncoder, normalizer: str | Path | None) -> Recorded:
    """With which `load_encoder` gives this encoder again, from any folder."""
    return {
        "run": encoder.run,
        "hash": encoder.hash,
        "normalizer": None if normalizer is None else str(Path(normalizer).absolute()),
        "normalizer_hash": None if encoder.normalizer is None else encoder.normalizer.hash,
    }


def fit_normalizer(
    encoder: ParticleEncoder, data: str | Path, n_frames: int = 2000, part: Part = "train", chunk: int = 64
) -> Normalizer:
    """A normalizer for the encoder's particles of a rollout file: of `n_frames` frames evenly spread over a part."""
    rollouts = checkpoint.rollouts_of(encoder.run, data)
    episodes = rollouts.some_of(part)
    rows = np.flatnonzero(
        np.isin(np.repeat(np.arange(rollouts.n_episodes), rollouts.episode_lengths), episodes)
    )
    rows = rows[np.linspace(0, len(rows) - 1, min(n_frames, len(rows))).round().astype(int)]
    pieces = np.split(rows, range(chunk, len(rows), chunk))
    packed = np.concatenate([encoder.raw(rollouts.frames(piece)) for piece in pieces])
    return Normalizer.fit(packed, encoder.layout, encoder.hash)
