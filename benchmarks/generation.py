"""Videos that a generator makes up beside the data's, and gaps that it fills, beside interpolation and prediction.

    python -m benchmarks.generation statistics runs/balls_generation balls.h5 --clips 256 --steps 1000 50 10
    python -m benchmarks.generation gaps runs/balls_gaps balls.h5 --missing 5 15 --draws 1 8

statistics: clips of `--frames`, the first ones drawn, the rest by the video model's dynamics; beside clips of the test
part, and the dynamics from true first frames of as many of these. Balls of a quarter of the image's side.
gaps: clips of the test part with frames `--missing FIRST AFTER` left out. Errors are in pixels, from the true centres,
over objects that are visible; slots are matched to them in the last frame before the gap. `straight`: between the
particles before and after the gap; `prediction`: by the dynamics, from the frames before it; `encoded`: of particles
that are found when the frames are shown, the best that a model of this encoder can do. `--draws`: means of so many.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from dlp_dyn.clip import Clip
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.strided import read_strided, strided_lengths
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation import generation
from dlp_dyn.evaluation import trajectories as tracks
from dlp_dyn.evaluation.trajectories import Trajectories
from dlp_dyn.generation.model import VideoGenerator
from dlp_dyn.particles import Scene
from dlp_dyn.tree import cat

_AT_ONCE = 32  # clips
DIAMETER = 0.25  # of Balls, image sides
COLUMNS = ("objects", "overlaps", "speed", "speed_std", "energy", "energy_change")


@dataclass(frozen=True)
class Clips:
    """Clips of the data: where things truly are, and the particles that the video model finds."""

    video: Float[torch.Tensor, "B T C H W"]
    truth: Trajectories
    scenes: Scene

    @property
    def side(self) -> int:
        return self.video.shape[-1]

    def positions(self, scenes: Scene) -> Trajectories:
        return tracks.of_particles(scenes.particles, self.side)


def read(model: VideoGenerator, data: Path, n: int, frames: int) -> Clips:
    """n clips of the test part, or all, without overlap and spread over the episodes."""
    rollouts, stride = Rollouts(data), model.video.cfg.stride
    videos, states = [], []
    episodes = rollouts.part("test")
    for i, length in zip(episodes, strided_lengths(rollouts, episodes, stride), strict=True):
        episode = read_strided(rollouts, int(i), int(length), stride)
        if episode.states is None:
            raise InputError(f"{data}: no ground truth in it; give a file that has positions")
        for begin in range(0, length - frames + 1, frames):
            part = slice(begin, begin + frames)
            videos.append(episode.frames[part])
            states.append({name: values[part] for name, values in episode.states.items()})
    picked = np.linspace(0, len(videos) - 1, min(n, len(videos))).round().astype(int)
    video = Clip(torch.from_numpy(np.stack([videos[i] for i in picked]))).video
    scenes = [model.video.encode(part)[0].scene for part in video.split(_AT_ONCE)]
    return Clips(video, tracks.of_states([states[i] for i in picked], video.shape[-1]), cat(scenes, 0))


def statistics(model: VideoGenerator, clips: Clips, n: int, steps: Sequence[int], seed: int) -> None:
    """Print a table."""
    first, frames = model.cfg.frames, clips.video.shape[1]
    carried_on = rollout(model.video.dynamics, clips.scenes[:, :first], frames - first)
    rows = [
        ("data", clips.truth, ""),
        ("particles of the data", clips.positions(clips.scenes), ""),
        (f"dynamics from {first} true frames", clips.positions(carried_on), ""),
    ]
    for count in steps:
        begun = time.process_time()
        scenes = model.generate(n, frames, count, generator=torch.Generator().manual_seed(seed))
        seconds = (time.process_time() - begun) / n
        path = clips.positions(scenes)
        rows.append((f"drawn in {count} steps", path, f"{seconds:.3f}"))
        rows.append((f"the {first} drawn frames alone", path.frames(0, first), ""))
    head = " | ".join((*COLUMNS, "distance of speeds", "diversity", "CPU s a clip"))
    print(f"{len(clips.video)} clips of the data, {n} drawn\n\n| | {head} |\n{'|---' * (len(COLUMNS) + 4)}|")
    for name, path, seconds in rows:
        figures = generation.statistics(path, clips.side, DIAMETER)
        cells = [f"{getattr(figures, column):.3f}" for column in COLUMNS]
        cells.append(f"{generation.speed_distance(path, clips.truth, clips.side):.3f}")
        cells += [f"{generation.diversity(path):.3f}", seconds]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def gaps(
    model: VideoGenerator,
    clips: Clips,
    missing: range,
    steps: int,
    rounds: int,
    draws: Sequence[int],
    seed: int,
) -> None:
    """Print a table."""
    first, after = missing.start, missing.stop
    before = clips.scenes[:, :first]
    predicted = clips.positions(rollout(model.video.dynamics, before, after - first))
    paths = {
        "encoded": clips.positions(clips.scenes),
        "prediction from before": predicted,
        "straight": straight_between(clips.positions(model.around(clips.video, missing)), missing),
    }
    begun = time.process_time()
    drawn = [
        clips.positions(
            model.complete(clips.video, missing, steps, 1.0, rounds, torch.Generator().manual_seed(seed + k))
        )
        for k in range(max(draws))
    ]
    seconds = (time.process_time() - begun) / max(draws) / len(clips.video)
    for n in draws:
        middle = np.mean([path.position for path in drawn[:n]], 0)
        paths[f"filled, mean of {n}"] = Trajectories(middle, drawn[0].visible)
    truth = clips.truth.frames(first - 1, after)
    print(f"{len(clips.video)} clips, {seconds:.3f} CPU s a filled clip\n")
    print("| | mean error, pixels | at " + " | at ".join(str(t + 1) for t in missing) + " |")
    print("|---" * (2 + len(missing)) + "|")
    for name, path in paths.items():
        path = path.frames(first - 1, after)
        error = clips.side * tracks.follow(path, truth, tracks.match_first(path, truth))["error"][:, 1:]
        cells = [f"{x:.2f}" for x in (np.nanmean(error), *np.nanmean(error, 0))]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def straight_between(path: Trajectories, missing: range) -> Trajectories:
    """What is missing, on straight lines from the frame before to the frame after."""
    position = path.position.copy()
    a, b = position[:, missing.start - 1], position[:, missing.stop]
    for t in missing:
        share = (t - missing.start + 1) / (len(missing) + 1)
        position[:, t] = (1 - share) * a + share * b
    return Trajectories(position, path.visible)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("statistics", "gaps"))
    parser.add_argument("run", help="of a generator")
    parser.add_argument("data", type=Path, help="rollout file with positions")
    parser.add_argument("--clips", type=int, default=256, help="(default: 256)")
    parser.add_argument("--frames", type=int, default=20, help="of a clip (default: 20)")
    parser.add_argument("--steps", type=int, nargs="+", default=[50], help="of noise (default: 50)")
    parser.add_argument("--missing", type=int, nargs=2, default=[5, 15], metavar=("FIRST", "AFTER"))
    parser.add_argument("--rounds", type=int, default=5, help="of each step, in gaps (default: 5)")
    parser.add_argument("--draws", type=int, nargs="+", default=[1], help="(default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    args = parser.parse_args(words)
    model = VideoGenerator.from_pretrained(args.run).eval()
    with torch.no_grad():
        if args.what == "statistics":
            statistics(
                model, read(model, args.data, args.clips, args.frames), args.clips, args.steps, args.seed
            )
        else:
            clips = read(model, args.data, args.clips, model.cfg.frames)
            gaps(model, clips, range(*args.missing), args.steps[0], args.rounds, args.draws, args.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
