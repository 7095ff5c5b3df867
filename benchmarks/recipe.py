"""A training step of the preset `image`, as it adapts to a rollout file, beside one of `shapes` on the same frames.

python -m benchmarks.recipe push3.h5
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence

import torch

from benchmarks.measure import compare, machine, peak_and_base
from dlp_dyn import config
from dlp_dyn.data.clips import ClipDataset, collate
from dlp_dyn.data.inspection import inspect_rollouts
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.training.adapt import adapt
from dlp_dyn.training.setup import build_model, build_objective, resolve_config
from dlp_dyn.training.step import TrainingStep

FRAMES = 16  # of a batch: 8 pairs in the recipe, single frames in `shapes`
_CPU = torch.device("cpu")


def build(name: str, path: str) -> Callable[[], None]:
    """A whole training step."""
    torch.manual_seed(0)
    torch.set_flush_denormal(True)  # as training does
    rollouts = Rollouts(path)
    found = inspect_rollouts(rollouts)
    cfg = config.load(name, [f"data.path={path}", f"model.image_size={found.image_size}"])
    cfg = resolve_config(adapt(cfg, rollouts, found))
    length = cfg.data.clip_length
    clips = ClipDataset(rollouts, "train", length, cfg.data.stride)
    batch = collate([clips[i * len(clips) // FRAMES] for i in range(FRAMES // length)])
    model = build_model(cfg, None if cfg.model.reference == "none" else found)
    objective = build_objective(cfg, model)
    weights = objective.weights(cfg.weights)
    step = TrainingStep(objective, {"model": torch.optim.Adam(model.parameters(), lr=1e-6)})

    def once() -> None:
        step([batch], weights)

    return once


def peak(name: str, path: str) -> int:
    """Bytes that a process of its own holds at most above its rest."""
    command = [sys.executable, "-m", "benchmarks.recipe", path, "--peak", name]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    most, base = json.loads(answer.stdout.splitlines()[-1])
    return most - base


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="rollout file")
    parser.add_argument("--rounds", type=int, default=15, help="(default: 15)")
    parser.add_argument("--peak", metavar="CONFIG", help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.peak:
        print(json.dumps(peak_and_base(build(args.peak, args.file), _CPU)))
        return 0
    recipe, shapes = compare(build("image", args.file), build("shapes", args.file), _CPU, args.rounds)
    megabytes = {name: peak(name, args.file) / 2**20 for name in ("image", "shapes")}
    print(json.dumps(machine(_CPU)))
    print("| config | ms a step | quartiles | MB above rest |\n|---|---|---|---|")
    for name, t in (("image", recipe), ("shapes", shapes)):
        print(
            f"| {name} | {1e3 * t.median:.0f} | {1e3 * t.low:.0f}-{1e3 * t.high:.0f} | {megabytes[name]:.0f} |"
        )
    print(
        f"ratio: time {recipe.median / shapes.median:.2f}, memory {megabytes['image'] / megabytes['shapes']:.2f}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
