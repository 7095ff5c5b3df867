"""All questions in one table, for benchmarks/results/speed.md."""

import torch

from benchmarks import clip_step, composite, crop, encode, loader, rollout, training_step
from benchmarks.measure import Row
from benchmarks.table import main


def run(device: torch.device, quick: bool) -> list[Row]:
    scripts = (crop, composite, training_step, clip_step, rollout, encode, loader)
    return [row for script in scripts for row in script.run(device, quick)]


if __name__ == "__main__":
    main("dlp-dyn bench", run)
