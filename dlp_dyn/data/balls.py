"""Balls: discs that bounce off walls and each other, with ground truth.

The rules are those of the data sets of G-SWM (Lin et al. 2020, "Improving generative imagination in
object-centric world models"), which DDLP evaluates on, written anew from their description. Two things
differ: a disc is drawn by its exact distance to each pixel centre instead of a resized sprite, and colours
are rounded instead of cut off.

Pixel coordinates here: (x, y), 0 and `image_size` at the outer edges of the image, so pixel i has its centre
at i + 0.5.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from dlp_dyn.data.writer import PARTS, Episode, RolloutWriter
from dlp_dyn.errors import InputError

COLOURS = np.array([[0, 0, 1], [1, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.float32)
SUBSTEPS = 10
ATTEMPTS = 100
JAMMED = 0.547  # share of a plane beyond which discs placed at random find no room (Feder 1980)
VISIBLE_SHARE = 0.1  # a ball of which less than this shows counts as hidden
Mode = Literal["interaction", "occlusion"]


@dataclass(frozen=True)
class BallsConfig:
    """A scene. Lengths in pixels, speed in pixels a frame.

    `interaction`: balls collide and do not overlap at the start. `occlusion`: balls pass in front of each
    other, colours differ. turn_every: every so many frames every ball turns left or right by a right angle, which of
    the two is random; 0 never.
    """

    n_balls: int = 3
    radius: float | int = 8.0
    speed: float | int = 3.0
    image_size: int = 64
    mode: Mode = "interaction"
    turn_every: int = 0

    def __post_init__(self) -> None:
        if self.turn_every < 0:
            raise InputError(
                f"turn_every {self.turn_every}: give a number of frames, or 0 for balls that never turn"
            )
        if self.n_balls < 1 or self.radius <= 0 or self.speed < 0 or 2 * self.radius > self.image_size:
            raise InputError(
                f"{self}: needs a ball or more, a speed >= 0 and a radius between 0 and half the image"
            )
        if self.mode not in ("interaction", "occlusion"):
            raise InputError(f"mode {self.mode!r}: use interaction or occlusion")
        if self.mode == "occlusion" and self.n_balls > len(COLOURS):
            raise InputError(f"n_balls {self.n_balls}: occlusion has {len(COLOURS)} colours, all different")


def to_position(pixels: np.ndarray, image_size: int) -> np.ndarray:
    """Pixel coordinates -> [-1, 1] with -1 and 1 at the centres of the first and last pixel."""
    return (pixels - 0.5) * (2 / (image_size - 1)) - 1


def to_pixels(position: np.ndarray, image_size: int) -> np.ndarray:
    """The inverse of `to_position`."""
    return (position + 1) * ((image_size - 1) / 2) + 0.5


def initial_state(
    rng: np.random.Generator, n_episodes: int, cfg: BallsConfig
) -> tuple[Float[np.ndarray, "E O 2"], Float[np.ndarray, "E O 2"]]:
    """Random centres and velocities. Raises InputError when the balls do not fit."""
    velocity = rng.normal(size=(n_episodes, cfg.n_balls, 2))
    velocity *= cfg.speed / np.linalg.norm(velocity, axis=-1, keepdims=True)
    low, high = cfg.radius, cfg.image_size - cfg.radius
    position = rng.uniform(low, high, (n_episodes, cfg.n_balls, 2))
    if cfg.mode == "occlusion":
        return position, velocity
    crowded = cfg.n_balls * np.pi * cfg.radius**2 > JAMMED * cfg.image_size**2
    open_episodes = np.arange(n_episodes)
    for _ in range(0 if crowded else ATTEMPTS):
        # Ball by ball; an episode in which a ball found no place is begun again.
        for ball in range(1, cfg.n_balls):
            clash = open_episodes
            for _ in range(ATTEMPTS):
                gap = np.linalg.norm(position[clash, ball, None] - position[clash, :ball], axis=-1)
                clash = clash[(gap < 2 * cfg.radius).any(-1)]
                if not len(clash):
                    break
                position[clash, ball] = rng.uniform(low, high, (len(clash), 2))
        open_episodes = open_episodes[_overlapping(position[open_episodes], cfg.radius)]
        if not len(open_episodes):
            return position, velocity
        position[open_episodes] = rng.uniform(low, high, (len(open_episodes), cfg.n_balls, 2))
    raise InputError(
        f"{cfg.n_balls} balls of radius {cfg.radius} do not fit into {cfg.image_size} pixels; use fewer or "
        "smaller ones"
    )


def _overlapping(position: Float[np.ndarray, "E O 2"], radius: float | int) -> np.ndarray:
    distance = np.linalg.norm(position[:, :, None] - position[:, None], axis=-1)
    return (distance + 2 * radius * np.eye(position.shape[1]) < 2 * radius).any((1, 2))


def step(
    position: Float[np.ndarray, "E O 2"], velocity: Float[np.ndarray, "E O 2"], cfg: BallsConfig
) -> tuple[Float[np.ndarray, "E O 2"], Float[np.ndarray, "E O 2"]]:
    """One frame later: E scenes at once, ten sub-steps of walls, collisions (equal masses), motion."""
    position, velocity = position.astype(np.float64), velocity.astype(np.float64)
    dt, diameter = 1 / SUBSTEPS, 2 * cfg.radius
    for _ in range(SUBSTEPS):
        moved = position + dt * velocity
        velocity = np.where(moved < cfg.radius, np.abs(velocity), velocity)
        velocity = np.where(moved > cfg.image_size - cfg.radius, -np.abs(velocity), velocity)
        if cfg.mode == "interaction":
            moved = position + dt * velocity
            for i in range(1, cfg.n_balls):
                for j in range(i):
                    line = moved[:, i] - moved[:, j]
                    distance = np.linalg.norm(line, axis=-1)
                    hit = np.flatnonzero((distance < diameter) & (distance > 0))
                    if len(hit):
                        normal = line[hit] / distance[hit, None]
                        closing = ((velocity[hit, j] - velocity[hit, i]) * normal).sum(-1, keepdims=True)
                        velocity[hit, i] += closing * normal
                        velocity[hit, j] -= closing * normal
        position = position + dt * velocity
    return position, velocity


def simulate(
    rng: np.random.Generator, n_episodes: int, length: int, cfg: BallsConfig | None = None
) -> tuple[Float[np.ndarray, "E T O 2"], Float[np.ndarray, "E T O 2"]]:
    """Centres in pixels and velocities in pixels a frame; frame 0 is the initial state."""
    cfg = cfg or BallsConfig()
    states = [initial_state(rng, n_episodes, cfg)]
    while len(states) < length:
        position, velocity = step(*states[-1], cfg)
        if cfg.turn_every and len(states) % cfg.turn_every == 0:
            velocity = turned(rng, velocity)
        states.append((position, velocity))
    position, velocity = zip(*states, strict=True)
    return np.stack(position, 1), np.stack(velocity, 1)


def turned(rng: np.random.Generator, velocity: Float[np.ndarray, "E O 2"]) -> Float[np.ndarray, "E O 2"]:
    """Every velocity a quarter of a turn to one side or the other, at random."""
    side = rng.choice([-1.0, 1.0], velocity.shape[:-1])
    return np.stack([-side * velocity[..., 1], side * velocity[..., 0]], -1)


def draw_colours(rng: np.random.Generator, n_episodes: int, cfg: BallsConfig) -> Float[np.ndarray, "E O 3"]:
    """RGB in [0, 1], one colour a ball: with replacement, except for occlusion."""
    if cfg.mode == "occlusion":
        order = rng.permuted(np.tile(np.arange(len(COLOURS)), (n_episodes, 1)), axis=1)
        return COLOURS[order[:, : cfg.n_balls]]
    return COLOURS[rng.integers(len(COLOURS), size=(n_episodes, cfg.n_balls))]


def render(
    pixels: Float[np.ndarray, "N O 2"],
    colour: Float[np.ndarray, "N O 3"],
    radius: float | int,
    image_size: int,
) -> tuple[UInt8[np.ndarray, "N S S 3"], Float[np.ndarray, "N O"]]:
    """Anti-aliased discs on black, a later ball in front; also the share of each disc that shows."""
    margin = int(np.ceil(radius)) + 2
    window = np.arange(2 * margin)
    side = image_size + 4 * margin  # room for discs that leave the image
    inside = slice(2 * margin, 2 * margin + image_size)
    # A disc that is out of sight keeps its true distance but its window stays on the canvas.
    corners = np.floor(np.clip(pixels, -margin, image_size + margin)).astype(int) - margin
    offset = (corners[:, :, None] + (window[:, None] + 0.5) - pixels[:, :, None]).astype(np.float32)
    squared = offset**2
    alpha = np.clip(radius + 0.5 - np.sqrt(squared[:, :, :, None, 1] + squared[:, :, None, :, 0]), 0, 1)
    corners += 2 * margin
    light = np.empty((side, side, 1), np.float32)  # what nearer discs let through
    canvas = np.empty((side, side, 3), np.float32)
    frames = np.empty((len(pixels), image_size, image_size, 3), np.uint8)
    shown = np.empty_like(alpha[..., None])
    colour = (255 * colour).astype(np.float32)
    for frame in range(len(pixels)):
        light[:], canvas[:] = 1, 0.5  # 0.5: rounding
        for ball in reversed(range(pixels.shape[1])):
            x, y = corners[frame, ball].tolist()
            box = slice(y, y + len(window)), slice(x, x + len(window))
            np.multiply(alpha[frame, ball, ..., None], light[box], out=shown[frame, ball])
            canvas[box] += shown[frame, ball] * colour[frame, ball]
            light[box] -= shown[frame, ball]
        frames[frame] = canvas[inside, inside]
    return frames, shown.sum((2, 3, 4)) / np.maximum(alpha.sum((2, 3)), 1e-6)


def instance_masks(
    pixels: Float[np.ndarray, "N O 2"], radius: float | int, image_size: int
) -> UInt8[np.ndarray, "N S S"]:
    """The ball that shows in each pixel's centre, as its number + 1; a later ball is in front."""
    centres = np.arange(image_size) + 0.5
    squared = (centres - pixels[..., None]) ** 2
    masks = np.zeros((len(pixels), image_size, image_size), np.uint8)
    for ball in range(pixels.shape[1]):
        across, down = squared[:, ball, 0, None, :], squared[:, ball, 1, :, None]
        masks[across + down <= radius**2] = ball + 1
    return masks


def write_balls(
    path: str | Path,
    n_episodes: Sequence[int] = (5000, 200, 200),
    length: int = 100,
    *,
    image_size: int = 64,
    n_balls: int = 3,
    radius: float | int = 8.0,
    speed: float | int = 3.0,
    mode: Mode = "interaction",
    turn_every: int = 0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Writes a rollout file of (train, validation, test) episodes with ground truth (units as in
    BallsConfig).

    `progress` is told how many episodes are done.
    """
    cfg = BallsConfig(n_balls, radius, speed, image_size, mode, turn_every)
    attributes = {
        "env_id": f"balls/{cfg.mode}",
        "seed": seed,
        "radius": cfg.radius,
        "speed": cfg.speed,
        "frame_skip": 1,
    }
    done = 0
    with RolloutWriter(path, seed=seed, attributes=attributes) as writer:
        for number, (part, n) in enumerate(zip(PARTS, n_episodes, strict=True)):
            rng = np.random.default_rng([seed, number])
            for start in range(0, n, 256):
                n_block = min(256, n - start)
                position, velocity = simulate(rng, n_block, length, cfg)
                colour = draw_colours(rng, n_block, cfg)
                for episode in range(n_block):
                    writer.append(_episode(position[episode], velocity[episode], colour[episode], cfg), part)
                    done += 1
                    if progress:
                        progress(done)


def _episode(position: np.ndarray, velocity: np.ndarray, colour: np.ndarray, cfg: BallsConfig) -> Episode:
    colour = np.broadcast_to(colour, (*position.shape[:2], 3))
    frames, shares = render(position, colour, cfg.radius, cfg.image_size)
    states = {
        "position": to_position(position, cfg.image_size),
        "velocity": velocity * (2 / (cfg.image_size - 1)),
        "size": np.full_like(position, 2 * cfg.radius / cfg.image_size),
        "colour": colour,
        "visible": shares > VISIBLE_SHARE,
        "masks": instance_masks(position, cfg.radius, cfg.image_size),
    }
    return Episode(frames, states=states)
