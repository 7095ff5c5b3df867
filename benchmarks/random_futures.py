"""Futures that are random: do samples of a video model spread as the truth does?

    python -m benchmarks.random_futures balls runs/latent runs/graph --pictures fork.png

Scenes are seen for some frames; from the last one the true world goes on many times with other chances, and each model
draws as many futures. Balls turn left or right by a right angle at random (`turn_every` of `dlp-dyn collect balls`);
push: a PlayfulPusher of Push, whose actions no model sees.

energy: distance of the two sets of positions of an object at a step, in image sides, mean over objects and then over
scenes, with its 95% interval from scenes drawn with replacement; 0 where they spread alike. `truth` is the true world's
other half, `one future` the most likely one of a model.
branches: of balls that turn freely, shares of samples that went left, right, or neither way, and of forks whose both
branches were taken by a tenth of the samples or more.
"""

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.clip import Clip
from dlp_dyn.data import balls
from dlp_dyn.planning.intervals import paired_difference
from dlp_dyn.plotting import pictures
from dlp_dyn.video import VideoModel
from envs.policies import PlayfulPusher
from envs.push import PushEnv

STEPS = (5, 10, 20)
TURN_EVERY, CONTEXT = 8, 16  # the first predicted frame still goes straight, the fork is the motion after it
AFTER = 2  # frames after a fork in which its branch is told
RIGHT_ANGLE = np.pi / 4  # how far from a right angle a turn may be


@dataclass(frozen=True)
class World:
    """Scenes, and how they really went on: positions in [-1, 1] from the last frame that is seen on."""

    frames: UInt8[np.ndarray, "E C H W 3"]
    futures: Float[np.ndarray, "E K U O 2"]


def balls_world(scenes: int, futures: int, horizon: int, seed: int, side: int = 64) -> World:
    """Each scene goes on in 2 K ways."""
    cfg, rng = balls.BallsConfig(image_size=side, turn_every=TURN_EVERY), np.random.default_rng([seed, 7])
    seen, velocity = balls.simulate(rng, scenes, CONTEXT, cfg)
    colour = balls.draw_colours(rng, scenes, cfg)
    frames = np.stack(
        [
            balls.render(seen[e], np.broadcast_to(colour[e], (*seen[e].shape[:2], 3)), cfg.radius, side)[0]
            for e in range(scenes)
        ]
    )
    position, moving = (np.repeat(x[:, -1], 2 * futures, 0) for x in (seen, velocity))
    positions = [position]
    for t in range(CONTEXT, CONTEXT + horizon):
        position, moving = balls.step(position, moving, cfg)
        if t % TURN_EVERY == 0:
            moving = balls.turned(rng, moving)
        positions.append(position)
    path = balls.to_position(np.stack(positions, 1), side)
    return World(frames, path.reshape(scenes, 2 * futures, horizon + 1, cfg.n_balls, 2))


def push_world(scenes: int, futures: int, horizon: int, seed: int, side: int = 64) -> World:
    """The same player, with other dice from the last seen frame on."""
    env = PushEnv(n_objects=3, image_size=side)
    frames, paths = [], []
    for e in range(scenes):
        observation, _ = env.reset(seed=1_000_000 * (seed + 1) + e)
        player = PlayfulPusher(env, np.random.default_rng([seed, e]))
        seen = []
        for t in range(CONTEXT + e % 8):  # not always at the same time of an episode
            seen.append(env.render())
            if t < CONTEXT + e % 8 - 1:
                observation = env.step(player(observation))[0]
        frames.append(np.stack(seen[-CONTEXT:]))
        paths.append([_play_on(env, player, observation, horizon, [seed, e, k]) for k in range(2 * futures)])
    return World(np.stack(frames), np.array(paths))


def _play_on(
    env: PushEnv, player: PlayfulPusher, observation: dict, horizon: int, dice: list[int]
) -> Float[np.ndarray, "U O 2"]:
    world, other = copy.deepcopy((env, player))
    other.rng = np.random.default_rng(dice)
    path = [world.ground_truth()["position"]]
    for _ in range(horizon):
        observation = world.step(other(observation))[0]
        path.append(world.ground_truth()["position"])
    return np.stack(path)


@torch.no_grad()
def futures_of(
    model: VideoModel, world: World, samples: int, seed: int
) -> tuple[Float[np.ndarray, "E K U O 2"], Bool[np.ndarray, "E O"]]:
    """Positions of the particles that lie on the objects at the last seen frame; which objects have one.

    samples: 0 is the most likely future alone.
    """
    horizon, found, on = world.futures.shape[2] - 1, [], []
    for e, frames in enumerate(world.frames):
        video = Clip(torch.from_numpy(frames)[None]).video
        generator = torch.Generator().manual_seed(seed + e)
        scene = model.predict(video, horizon, samples=samples, generator=generator)
        p = scene.particles[:, CONTEXT - 1 :]
        start = torch.from_numpy(world.futures[e, 0, 0]).float()
        distance = torch.cdist(start, p.position[0, 0]).masked_fill(~p.visible[0, 0], torch.inf)
        nearest = distance.min(-1)
        found.append(p.position[:, :, nearest.indices].numpy())
        on.append((nearest.values < 4 * 2 / video.shape[-1]).numpy())
    return np.stack(found), np.stack(on)


def energy(a: Float[np.ndarray, "E K O 2"], b: Float[np.ndarray, "E M O 2"]) -> Float[np.ndarray, "E O"]:
    """Distance of two sets of points, unbiased where a set has two or more; in image sides."""

    def mean(x: np.ndarray, y: np.ndarray, same: bool) -> np.ndarray:
        gap = np.linalg.norm(x[:, :, None] - y[:, None], axis=-1) / 2
        k = x.shape[1]
        return gap.sum((1, 2)) / (k * max(k - 1, 1)) if same else gap.mean((1, 2))

    return 2 * mean(a, b, False) - mean(a, a, True) - mean(b, b, True)


def branches(path: Float[np.ndarray, "E K U O 2"]) -> Float[np.ndarray, "E K O"]:
    """Which way each went at the fork in the motion after the first step: -1 left, 1 right, 0 neither."""
    before = path[:, :, 1] - path[:, :, 0]
    after = path[:, :, 1 + AFTER] - path[:, :, 1]
    angle = np.arctan2(*(_cross_and_dot(before, after)))
    return np.where(np.abs(np.abs(angle) - np.pi / 2) < RIGHT_ANGLE, np.sign(angle), 0)


def _cross_and_dot(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], (a * b).sum(-1)


def free_forks(world: World) -> Bool[np.ndarray, "E O"]:
    """Balls whose every true future turns by a right angle and then goes straight: nothing is in the way."""
    motion = np.diff(world.futures[:, :, : 2 + AFTER], axis=2)
    straight = np.abs(np.diff(motion[:, :, 1:], axis=2)).max((1, 2, 4)) < 1e-6
    cross, dot = _cross_and_dot(motion[:, :, 0], motion[:, :, 1])
    return straight & (np.abs(np.abs(np.arctan2(cross, dot)) - np.pi / 2) < 0.01).all(1)


def report(world: World, runs: Sequence[tuple[str, VideoModel]], forks: bool, seed: int) -> None:
    """Print a table."""
    k = world.futures.shape[1] // 2
    truth, again = world.futures[:, :k], world.futures[:, k:]
    paths = {"truth": (again, np.ones(truth.shape[:1] + truth.shape[3:4], bool))}
    for name, model in runs:
        paths[name] = futures_of(model, world, k, seed)
        paths[f"{name}, one future"] = futures_of(model, world, 0, seed)
    known = np.logical_and.reduce([on for _, on in paths.values()])
    print(f"{len(truth)} scenes, {k} futures each, {known.mean():.3f} of the objects found by all models\n")
    print("| futures | " + " | ".join(f"energy, step {t}" for t in STEPS) + " |" + _forks_head(forks))
    print("|---" * (1 + len(STEPS) + 4 * forks) + "|")
    distances = {}
    for name, (path, _) in paths.items():
        cells = []
        for t in STEPS:
            gap = np.where(known, energy(path[:, :, t], truth[:, :, t]), np.nan)
            distances[name, t] = np.nanmean(gap[known.any(1)], 1)
            value, low, high = paired_difference(distances[name, t], np.zeros(len(distances[name, t])))
            cells.append(f"{value:.4f} ({low:.4f} to {high:.4f})")
        print(f"| {name} | " + " | ".join(cells) + " |" + _forks_cells(path, world, known, forks))
    names = [name for name, _ in runs]
    for other in names[1:]:
        for t in STEPS:
            value, low, high = paired_difference(distances[other, t], distances[names[0], t])
            print(f"step {t}: {other} - {names[0]}: {value:.4f} ({low:.4f} to {high:.4f})")


def _forks_head(forks: bool) -> str:
    return " left | right | neither | both branches |" if forks else ""


def _forks_cells(path: np.ndarray, world: World, known: np.ndarray, forks: bool) -> str:
    if not forks:
        return ""
    way = branches(path)
    free = known & free_forks(world)
    shares = np.stack([(way == side).mean(1)[free] for side in (-1, 1, 0)])  # (3, forks)
    both = (shares[:2] >= 0.1).all(0).mean()
    return "".join(f" {x:.2f} |" for x in (*shares.mean(1), both))


def draw(
    world: World, runs: Sequence[tuple[str, VideoModel]], file: Path, seed: int, scenes: int = 6
) -> None:
    """A row a scene: true futures, then those of each model, as dots over the last seen frame."""
    k = min(world.futures.shape[1] // 2, 16)
    some = World(world.frames[:scenes], world.futures[:scenes, : 2 * k])
    paths = {"truth": some.futures[:, :k]}
    for name, model in runs:
        paths[name] = futures_of(model, some, k, seed)[0]
    rows = []
    for e in range(len(some.frames)):
        frame = some.frames[e, -1] // 2
        rows.append({name: _ends(frame, path[e]) for name, path in paths.items()})
    pictures.write_image(file, pictures.label_grid(rows))


def _ends(
    frame: UInt8[np.ndarray, "H W 3"], path: Float[np.ndarray, "K U O 2"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Where the objects are after STEPS[0] steps, over the last seen frame."""
    return pictures.draw_points(frame, path[:, STEPS[0]].reshape(-1, 2))


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("world", choices=("balls", "push"))
    parser.add_argument(
        "runs", nargs="+", help="run folders of video models; the first is compared with others"
    )
    parser.add_argument("--scenes", type=int, default=100, help="(default: 100)")
    parser.add_argument("--futures", type=int, default=32, help="drawn of each scene (default: 32)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--pictures", type=Path, help="draw where objects end up into this file")
    args = parser.parse_args(words)
    torch.manual_seed(args.seed)
    make = balls_world if args.world == "balls" else push_world
    world = make(args.scenes, args.futures, STEPS[-1], args.seed)
    runs = [(run, load_video_model(run)) for run in args.runs]
    report(world, runs, args.world == "balls", args.seed)
    if args.pictures:
        draw(world, runs, args.pictures, args.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
