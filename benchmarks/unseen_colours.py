"""What edits as data are worth: image models of Push that were trained on two colours meet four others.

    python -m benchmarks.unseen_colours --out runs/unseen --seeds 0,1,2

Three kinds of training data of the same episodes, with the same settings and steps: as recorded (plain), beside them
each episode once more with a particle hidden, copied, recoloured or swapped (edited), and, as a ceiling, other episodes
whose objects take any two of six colours (all colours). Evaluated on episodes whose objects have the two colours, and
on such whose objects have two of the four others.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dlp_dyn import config, metrics
from dlp_dyn.checkpoint import load_model
from dlp_dyn.data.collect import collect
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import RolloutWriter
from dlp_dyn.evaluation.images import evaluate_episode, summary
from dlp_dyn.exporting.augment import augment
from dlp_dyn.planning.intervals import paired_difference
from dlp_dyn.training.loop import train

POLICY = "envs.policies:RestlessPusher"
OBJECTS, LENGTH = 2, 40
FIGURES = ("recall", "precision", "position_error_px", "psnr")


def record(out: Path, episodes: int, seed: int, any_colours: bool, side: int) -> Path:
    """Episodes of two objects, red and green or any two of six colours."""
    if not out.exists():
        settings = {"n_objects": OBJECTS, "random_colours": any_colours, "image_size": side}
        collect(
            "envs:Push-v0",
            out,
            episodes=episodes,
            max_steps=LENGTH,
            image_size=side,
            policy=POLICY,
            seed=seed,
            env_kwargs=settings,
        )
    return out


def choose(source: Path, out: Path, seen: Float[np.ndarray, "K 3"], episodes: int, unseen: bool) -> Path:
    """A test file of the episodes none of whose objects (all of whose objects, with unseen=False) has a seen colour."""
    rollouts, n = Rollouts(source), 0
    with RolloutWriter(out) as writer:
        for i in range(rollouts.n_episodes):
            episode = rollouts.episode(i)
            assert episode.states is not None
            colours = episode.states["colour"][0, :OBJECTS]
            known = np.abs(colours[:, None] - seen).max(-1).min(1) < 0.01
            if n < episodes and (not known.any() if unseen else known.all()):
                writer.append(episode, "test")
                n += 1
    return out


def judge(run: Path, data: Path) -> Float[np.ndarray, "E F"]:
    """Of every episode, the figures in their order."""
    model, rollouts = load_model(run), Rollouts(data)
    rows = []
    for i in range(rollouts.n_episodes):
        figures = summary([evaluate_episode(model, rollouts.episode(i), {"psnr": metrics.psnr})])
        rows.append([figures.get(name, np.nan) for name in FIGURES])
    return np.array(rows)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/unseen_colours"))
    parser.add_argument("--seeds", default="0,1,2", help="of the trainings (default: 0,1,2)")
    parser.add_argument("--episodes", type=int, default=60, help="recorded for training (default: 60)")
    parser.add_argument("--test", type=int, default=16, help="episodes of each test file (default: 16)")
    parser.add_argument("--image-size", type=int, default=32, help="pixels a side (default: 32)")
    parser.add_argument("--steps", type=int, default=600, help="of each image model (default: 600)")
    parser.add_argument("--set", nargs="+", default=[], help="settings of all trainings")
    args = parser.parse_args(words)
    out, side = args.out, args.image_size
    out.mkdir(parents=True, exist_ok=True)

    plain = record(out / "plain.h5", args.episodes, 0, False, side)
    every = record(out / "all_colours.h5", args.episodes, 1, True, side)
    strangers = record(out / "strangers.h5", 4 * args.test, 2, True, side)
    likes = record(out / "likes.h5", args.test, 3, False, side)
    first = Rollouts(plain).episode(0).states
    assert first is not None
    seen = first["colour"][0, :OBJECTS]
    tests = {
        "seen": choose(likes, out / "seen.h5", seen, args.test, unseen=False),
        "unseen": choose(strangers, out / "unseen.h5", seen, args.test, unseen=True),
    }

    def image(name: str, data: Path, seed: int) -> Path:
        run = out / f"{name}_{seed}"
        if not run.exists():
            settings = [f"data.path={data}", f"out={run}", f"steps={args.steps}", f"seed={seed}", *args.set]
            train(config.load("image", settings))
        return run

    def beside_edited(seed: int) -> Path:
        both = out / f"both_{seed}.h5"
        if not both.exists():
            settings = [
                f"image={image('plain', plain, seed)}",
                f"data.path={plain}",
                "dynamics.rollout_steps=2",
            ]
            few = ["steps=2", "batch_size=2", "eval_every=2", "save_every=2", "sample_every=2"]
            tracker = train(config.load("video", [*settings, f"out={out / f'tracker_{seed}'}", *few]))
            augment(plain, both, tracker, seed=seed, originals=True)  # it only tracks: dynamics are not used
        return both

    data = {"plain": lambda _: plain, "edited": beside_edited, "all colours": lambda _: every}
    results: dict[tuple[str, str], list[Float[np.ndarray, "E F"]]] = {}
    for arm, of in data.items():
        for seed in map(int, args.seeds.split(",")):
            run = image(arm.replace(" ", "_"), of(seed), seed)
            for test, file in tests.items():
                found = judge(run, file)
                results.setdefault((test, arm), []).append(found)
                print(f"{test}, {arm}, seed {seed}:", *np.nanmean(found, 0).round(4), flush=True)

    print(f"| objects | trained on | {' | '.join(FIGURES)} |\n|{'---|' * (len(FIGURES) + 2)}")
    for (test, arm), runs in results.items():
        episodes = np.nanmean(runs, 0)  # of seeds
        base = np.nanmean(results[test, "plain"], 0)
        cells = []
        for f in range(len(FIGURES)):
            cell = f"{np.nanmean(episodes[:, f]):.3f}"
            if arm != "plain":
                gain, low, high = paired_difference(episodes[:, f], base[:, f])
                cell += f" ({gain:+.3f}, {low:+.3f} to {high:+.3f})"
            cells.append(cell)
        print(f"| {test} | {arm} | {' | '.join(cells)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
