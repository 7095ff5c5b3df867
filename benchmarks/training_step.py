"""The whole training step, Adam included: the model against the same model on plain geometry."""

import json
import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.count import count
from benchmarks.measure import Cost, Row, compare, peak_and_base, saved_bytes
from benchmarks.plain import PlainImageElbo, plain_model
from benchmarks.table import main
from dlp_dyn import config
from dlp_dyn.clip import Clip
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.image_elbo import ImageElbo
from dlp_dyn.training.step import TrainingStep

QUESTION = "one training step: loss, backward, Adam"
BATCH = 32
# The sizes published for DLPv2 and DLPv3, as they are, with recomputing and in half precision, and the lean ones;
# the plain model always as published: float32, nothing recomputed.
CONFIGS = (
    "shapes_dlpv2",
    "shapes_dlpv2 recompute",
    "shapes_dlpv3",
    "shapes_dlpv3 recompute",
    "shapes_dlpv3 bf16",
    "shapes_dlpv3 bf16 recompute",
    "balls",
)


def build(
    name: str, plain: bool, device: torch.device, batch: int = BATCH
) -> tuple[DLP, Callable[[], Tensor], Callable[[], None]]:
    """A model, its loss on random images, and a whole step."""
    base, *variants = name.split()
    changes = ["model.networks.recompute=true"] if "recompute" in variants and not plain else []
    half = "bf16" in variants and not plain
    training = config.load(base, ["data.path=unused", *changes])
    cfg = training.model
    torch.manual_seed(0)
    model = (plain_model(cfg) if plain else DLP(cfg)).to(device)
    frames = torch.randint(0, 256, (batch, 1, cfg.image_size, cfg.image_size, 3), dtype=torch.uint8)
    clip = Clip(frames).to(device)
    objective = (PlainImageElbo if plain else ImageElbo)(model)
    weights = objective.weights(training.weights)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    take_step = TrainingStep(objective, {"model": optimizer})

    def loss() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            terms, _ = objective(clip)
        return weighted_sum(terms, weights["model"])[0]

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            take_step([clip], weights)

    return model, loss, step


def run(device: torch.device, quick: bool) -> list[Row]:
    return [_row(name, device, quick) for name in (("tiny",) if quick else CONFIGS)]


def _row(name: str, device: torch.device, quick: bool) -> Row:
    built = [build(name, plain, device) for plain in (False, True)]
    times = compare(built[0][2], built[1][2], device, 1 if quick else 7)
    saved = [saved_bytes(loss, list(model.parameters())) for model, loss, _ in built]
    work = [count(step) for _, _, step in built]
    del built
    costs = [
        Cost(
            times[plain], saved[plain], *_peak_and_base(name, bool(plain), device), work[plain].flops,
            work[plain].moved, half=not plain and "bf16" in name,
        )
        for plain in (False, True)
    ]  # fmt: skip
    return Row("training step", f"{name}, batch {BATCH}", costs[0], costs[1])


def _peak_and_base(name: str, plain: bool, device: torch.device) -> tuple[int, int]:
    """Bytes held at most during three steps, and before them; on a CPU in a process of its own."""
    if device.type == "cuda":  # whose allocator can tell
        return peak_and_base(build(name, plain, device)[2], device)
    request = json.dumps([name, plain, str(device), torch.get_num_threads()])
    command = [sys.executable, "-m", "benchmarks.training_step", "--peak", request]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    peak, base = json.loads(answer.stdout)
    return peak, base


def _print_peak(request: str) -> None:
    name, plain, device_name, threads = json.loads(request)
    torch.set_num_threads(threads)
    device = torch.device(device_name)
    step = build(name, plain, device)[2]
    print(json.dumps(peak_and_base(step, device)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        _print_peak(sys.argv[2])
    else:
        main(QUESTION, run)
