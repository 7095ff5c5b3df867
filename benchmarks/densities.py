"""Samples of Soft-IntroVAEs of the plane beside draws of the data: true divergences, the published ones, and modes.

python -m benchmarks.densities RUN...     runs of soft_intro_2d; prints a table
"""

import sys
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from dlp_dyn.config import read
from dlp_dyn.data import densities
from dlp_dyn.evaluation.densities import divergences, mode_figures, published_jsd, published_kl
from dlp_dyn.soft_intro.model import IntroVAE

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


def main(runs: list[str]) -> None:
    print(f"| run | {' | '.join(_COLUMNS)} |\n| --- |{' --- |' * len(_COLUMNS)}")
    names: dict[str, Points] = {}
    for run in runs:
        last = Path(run) / "checkpoints" / "last"
        name = read(last / "config.yaml").data.path
        if name not in names:
            rng = np.random.default_rng(100)
            names[name] = densities.points(name, _N, rng)
            again = densities.points(name, _N, rng)
            print(f"| {name}, another draw of the data | {' | '.join(figures(name, names[name], again))} |")
        fake = IntroVAE.from_pretrained(last).sample(_N, torch.Generator().manual_seed(1)).numpy()
        print(f"| {Path(run).name} | {' | '.join(figures(name, names[name], fake))} |")


if __name__ == "__main__":
    main(sys.argv[1:])
