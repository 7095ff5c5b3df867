"""What moves in rollouts, how large, how many, how often it touches: measured before anything is trained."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from scipy import ndimage

from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.geometry.blur import blur

FRAMES = 240  # looked at, spread over the training part
LEAST_PIXELS = 6  # smaller spots are noise
_NOISES, _THRESHOLDS = (
    5.0,
    (0.05, 0.15),
)  # a pixel moves when it differs by so many times the noise, within limits
_FIXED = 0.3  # a camera stands still when less than this share of the pixels moves
_DETAIL = 0.9  # quantile of the differences from a picture's own blur above which they count as things
_GLIMPSE, _PATCHES = (8, 24), (4, 8)  # pixels
_PARTICLES = (6, 24)
_A_BLOB = 3  # particles that a blob may need
_SMALLEST, _ROOM = 6.0, 1.25
_SQUARE, _KEPT = np.ones((2, 2)), 0.95  # an opening may take a twentieth of what moves, by energy


@dataclass(frozen=True)
class Blobs:
    """Connected spots of a frame that differ from what stands still, in pixels of the frame.

    centre: x and y of the middle of each. side: the longer one of its box. energy: its squared differences, summed.
    touches: whether its box lies within a pixel of another's.
    """

    centre: Float[np.ndarray, "K 2"]
    side: Float[np.ndarray, " K"]
    energy: Float[np.ndarray, " K"]
    touches: np.ndarray


@dataclass(frozen=True)
class Inspection:
    """What was found, and the sizes that follow from it.

    reference: the median frame, in [0, 1]. threshold: of the largest difference of a pixel's colours, from which on
    it counts as moving. moving: share of such pixels. sides: quartiles of the blobs' longer sides, in pixels.
    count, count_most: blobs a frame, mean and 95 % quantile. slots_most: 95 % quantile of the small blobs that would
    cover a frame's blobs. touching: share of the blobs that touch another.
    object_energy: lower quartile of the blobs' energies. colour: mean of what moves, in [0, 1].
    """

    image_size: int
    n_frames: int
    fixed_camera: bool
    reference: Float[np.ndarray, "S S 3"]
    noise: float
    threshold: float
    moving: float
    opened: bool
    count: float
    count_most: float
    slots_most: float
    sides: tuple[float, float, float]
    touching: float
    object_energy: float
    colour: tuple[float, float, float]

    @property
    def glimpse_pixels(self) -> int:
        """Even, and no larger than half of the blobs: a larger window holds two things that touch."""
        low, high = _GLIMPSE
        return int(np.clip(2 * (self.sides[1] // 2), low, min(high, self.image_size // 2)))

    @property
    def patch_pixels(self) -> int:
        """Of the patches that propose a particle each: no larger than the small things."""
        return max(p for p in _PATCHES if p <= max(self.sides[0], min(_PATCHES)))

    @property
    def n_particles(self) -> int:
        """As many as small blobs would cover all, but three to a blob at most, and three more: things that touch are
        one blob."""
        return int(np.clip(np.ceil(min(self.slots_most, _A_BLOB * self.count_most) + 3), *_PARTICLES))

    @property
    def largest_pixels(self) -> float:
        """Side that no particle exceeds: a quarter more than the large blobs, and than a glimpse."""
        return _ROOM * max(self.sides[2], self.glimpse_pixels)

    def summary(self) -> str:
        """In a line or two of English, with what follows from it."""
        if not self.count:
            return f"nothing moves in {self.n_frames} frames"
        low, _, high = self.sides
        camera = "the camera stands still" if self.fixed_camera else "the camera moves"
        return (
            f"{camera}; {self.count:.1f} moving things a frame ({self.count_most:.0f} at most), {low:.0f} to "
            f"{high:.0f} pixels, {self.touching:.0%} touch: glimpses of {self.glimpse_pixels} pixels, "
            f"{self.n_particles} particles"
        )

    def difference(self, frames: UInt8[np.ndarray, "B S S 3"]) -> Float[np.ndarray, "B S S 3"]:
        """Of frames from the median frame or, where the camera moves, from their own blur."""
        images = frames.astype(np.float32) / 255
        return images - (self.reference if self.fixed_camera else blurred(images))

    def blobs(self, frames: UInt8[np.ndarray, "B S S 3"]) -> list[Blobs]:
        """The blobs of each frame."""
        return [_blobs(difference, self.threshold, self.opened) for difference in self.difference(frames)]


def inspect_rollouts(rollouts: Rollouts, n_frames: int = FRAMES) -> Inspection:
    """Measure the training part, or all where there is none. `count` is 0 where nothing moves.

    Raises InputError for frames that are not square.
    """
    height, width = rollouts.image_size
    if height != width:
        raise InputError(
            f"{rollouts.path}: frames of {width}x{height} pixels, the models see squares; "
            "import or collect them with a crop to a square"
        )
    frames = rollouts.frames(_spread_rows(rollouts, n_frames))
    images = frames.astype(np.float32) / 255
    reference = np.median(images, 0)
    largest = np.abs(images - reference).max(-1)
    noise = float(np.median(largest))
    threshold = float(np.clip(_NOISES * noise, *_THRESHOLDS))
    moving = float((largest > threshold).mean())
    fixed = moving < _FIXED
    difference = images - (reference if fixed else blurred(images))
    if not fixed:
        threshold = max(_THRESHOLDS[0], float(np.quantile(np.abs(difference).max(-1), _DETAIL)))
    opened = fixed and _survives_opening(difference, threshold)
    found = [_blobs(d, threshold, opened) for d in difference]
    counts = np.array([len(b.side) for b in found])
    side, energy = (_joined(found, name) for name in ("side", "energy"))
    small = max(np.quantile(side, 0.25), _SMALLEST)
    slots = [np.square(np.maximum(b.side / small, 1)).sum() for b in found]
    mask = np.abs(difference).max(-1) > threshold
    return Inspection(
        image_size=height,
        n_frames=len(frames),
        fixed_camera=fixed,
        reference=reference,
        noise=noise,
        threshold=threshold,
        moving=moving,
        opened=opened,
        count=float(counts.mean()),
        count_most=float(np.quantile(counts, 0.95)),
        slots_most=float(np.quantile(slots, 0.95)),
        sides=_three(np.quantile(side, [0.25, 0.5, 0.75])),
        touching=float(_joined(found, "touches").mean()),
        object_energy=float(np.quantile(energy, 0.25)),
        colour=_three(images[mask].mean(0) if mask.any() else images.mean((0, 1, 2))),
    )


def blurred(images: Float[np.ndarray, "B S S 3"]) -> Float[np.ndarray, "B S S 3"]:
    """As the models compare pictures with where the camera moves."""
    return blur(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()


def _survives_opening(difference: Float[np.ndarray, "B S S 3"], threshold: float) -> bool:
    """Whether nearly all that moves lies in squares of two pixels that move."""
    mask, energy = np.abs(difference).max(-1) > threshold, np.square(difference).sum(-1)
    opened = ndimage.binary_opening(mask, _SQUARE[None])
    return bool((energy * opened).sum() >= _KEPT * (energy * mask).sum())


def _blobs(difference: Float[np.ndarray, "S S 3"], threshold: float, opened: bool) -> Blobs:
    labels = np.empty(difference.shape[:2], np.int32)
    mask = np.abs(difference).max(-1) > threshold
    if opened:
        mask = ndimage.binary_opening(mask, _SQUARE)
    n = int(ndimage.label(mask, np.ones((3, 3)), labels))  # pyright: ignore
    index = np.arange(1, n + 1)
    keep = ndimage.sum_labels(labels > 0, labels, index) >= LEAST_PIXELS if n else np.zeros(0, bool)
    boxes = [box for box, kept in zip(ndimage.find_objects(labels), keep, strict=True) if kept]
    energy = ndimage.sum_labels(np.square(difference).sum(-1), labels, index[keep])
    y, x = np.array(ndimage.center_of_mass(labels > 0, labels, index[keep])).reshape(-1, 2).T
    low = np.array([[b[1].start, b[0].start] for b in boxes], float).reshape(-1, 2)
    high = np.array([[b[1].stop, b[0].stop] for b in boxes], float).reshape(-1, 2)
    reaches = np.asarray(low[:, None] <= high[None] + 1).all(-1)
    meet = np.asarray(reaches & reaches.T, bool)
    np.fill_diagonal(meet, False)
    return Blobs(np.stack([x, y], -1), (high - low).max(-1), np.asarray(energy), np.asarray(meet.any(1)))


def _joined(found: list[Blobs], name: str) -> np.ndarray:
    """Of all frames together; one zero where there is no blob at all."""
    values = np.concatenate([getattr(b, name) for b in found])
    return values if len(values) else np.zeros(1)


def _spread_rows(rollouts: Rollouts, n: int) -> np.ndarray:
    episodes = rollouts.part("train")
    if not len(episodes):
        episodes = np.arange(rollouts.n_episodes)
    starts, ends = rollouts.episode_starts[episodes], rollouts.episode_ends[episodes]
    rows = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
    return rows[np.unique(np.linspace(0, len(rows) - 1, n).round().astype(int))]


def _three(values: np.ndarray) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c
