"""Samples of Soft-IntroVAEs of the plane beside draws of the data: true divergences, the published ones, and modes.

    python -m benchmarks.densities runs/rings runs/moons                runs of soft_intro_2d; prints a table
    python -m benchmarks.densities --train runs/2d --set steps=4000     trains them first, but for those that are done
    python -m benchmarks.densities --train runs/2d --only '*-plain-*'   some of them
    python -m benchmarks.densities runs/2d/rings-* --draw rings.png     and a picture, a row for each set

Trained are the published sets with their published weights, 8gaussians with three seeds: each as the published game,
with the target of a reconstruction detached, and as a plain VAE of the same networks and steps.
"""

import argparse
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from dlp_dyn.config import load, read
from dlp_dyn.data import densities
from dlp_dyn.evaluation.densities import divergences, mode_figures, published_jsd, published_kl
from dlp_dyn.plotting import pictures, samples
from dlp_dyn.soft_intro import families
from dlp_dyn.training.loop import resume, train
from dlp_dyn.training.tasks.soft_intro import density_pictures

PUBLISHED = {
    "8gaussians": (0.3, 0.9),
    "2spirals": (0.5, 1.0),
    "checkerboard": (0.1, 0.2),
    "rings": (0.2, 1.0),
}
"""kl and negative of the game; reconstruction is 0.2."""
VARIANTS = {
    "attached": (),
    "detached": ("soft_intro.game.attached_target=false",),
    # The game's own weights would blur all modes into one.
    "plain": ("soft_intro.game.fakes=none", "soft_intro.game.reconstruction=1.0", "soft_intro.game.kl=0.05"),
}
_N, _PUBLISHED_N = 20_000, 5_000  # samples
_COLUMNS = ("KL", "JSD", "TV", "published KL", "published JSD", "good", "modes")

Points = Float[np.ndarray, "n 2"]


def figures(name: str, real: Points, fake: Points) -> list[str]:
    limit = densities.limit(name)
    found = divergences(real, fake, limit)
    few = real[:_PUBLISHED_N], fake[:_PUBLISHED_N], limit
    modes = mode_figures(name, fake)
    return [
        f"{found['kl']:.3f}",
        f"{found['jsd']:.3f}",
        f"{found['total_variation']:.2f}",
        f"{published_kl(*few):.1f}",
        f"{published_jsd(*few):.1f}",
        f"{modes['good_samples']:.2f}" if modes else "",
        f"{modes['modes_covered']:.0f}" if modes else "",
    ]


def experiments() -> Iterator[tuple[str, list[str]]]:
    """Name and settings of every run, the most telling first."""
    for name, (kl, negative) in PUBLISHED.items():
        for seed in range(3 if name == "8gaussians" else 1):
            for variant, changes in VARIANTS.items():
                weights = [f"soft_intro.game.kl={kl}", f"soft_intro.game.negative={negative}"]
                yield f"{name}-{variant}-{seed}", [f"data.path={name}", f"seed={seed}", *weights, *changes]


def trained(folder: Path, overrides: Sequence[str], only: Sequence[str] = ("*",)) -> Iterator[Path]:
    """Every run of `experiments` with one of these names: made, gone on with, or as it is where it is done."""
    for name, settings in experiments():
        if not any(fnmatch(name, pattern) for pattern in only):
            continue
        run = folder / name
        if (run / "config.yaml").is_file():
            yield resume(run)
        else:
            yield train(load("soft_intro_2d", [*settings, *overrides, f"out={run}"]))


def table(runs: Iterator[Path]) -> dict[str, dict[str, samples.Picture]]:
    """Prints it; gives data, samples and likelihoods as pictures, by the names of sets."""
    print(f"| run | {' | '.join(_COLUMNS)} |\n| --- |{' --- |' * len(_COLUMNS)}")
    names: dict[str, Points] = {}
    drawn: dict[str, dict[str, samples.Picture]] = {}
    for run in runs:
        last = run / "checkpoints" / "last"
        name = read(last / "config.yaml").data.path
        if name not in names:
            rng = np.random.default_rng(100)
            names[name] = densities.points(name, _N, rng)
            again = densities.points(name, _N, rng)
            drawn[name] = {"data": samples.points_picture(names[name], densities.limit(name))}
            floor = " | ".join(figures(name, names[name], again))
            print(f"| {name}, another draw of the data | {floor} |", flush=True)
        model = families.load(last)
        fake = model.sample(_N, torch.Generator().manual_seed(1)).numpy()
        print(f"| {run.name} | {' | '.join(figures(name, names[name], fake))} |", flush=True)
        kind = run.name.removeprefix(f"{name}-")
        for what, picture in density_pictures(model, fake, densities.limit(name)).items():
            drawn[name][f"{kind}: {what}"] = picture
    return drawn


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, help="of soft_intro_2d")
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="of the runs to train")
    parser.add_argument(
        "--only", nargs="+", default=["*"], metavar="NAME", help="runs to train, * for any letters"
    )
    parser.add_argument("--set", nargs="+", default=[], help="settings for all of them alike")
    parser.add_argument(
        "--draw",
        type=Path,
        metavar="FILE",
        help="data, samples and likelihoods; the same variants of every set",
    )
    args = parser.parse_args(words)
    drawn = table(trained(args.train, args.set, args.only) if args.train else iter(args.runs))
    if args.draw is not None:
        pictures.write_image(args.draw, pictures.label_grid(list(drawn.values())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
