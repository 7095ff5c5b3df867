"""Training through torch.compile takes the same steps as without, all of it: compiler, kernels, optimiser.

The compiler is tested without its code generation in kernels/compared.py, which is quick. This takes minutes.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dlp_dyn import config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# A process without the type checks of these tests, which the compiler would read too, and without noise, which it draws
# in another order.
TRAIN = """
import sys
from pathlib import Path
from dlp_dyn import config
from dlp_dyn.particles import mean
from dlp_dyn.training.loop import train
for file in sys.argv[1:]:
    train(config.read(Path(file)), sample=mean)
"""
CLIPS = [
    "data.clip_length=4", "tracking.static_frames=2", "model.image_size=32", "model.patch_size=8",
    "model.n_particles=2", "model.n_proposals=4", "model.networks.proposal_channels=[8,16]",
    "model.networks.background_channels=[8,16,32]", "model.networks.recompute=false", "dynamics.window=3",
    "dynamics.transformer.dim=16", "dynamics.transformer.n_layers=1", "dynamics.transformer.n_heads=2",
    "dynamics.transformer.dropout=0", "phases.warm_up_steps=0", "phases.noisy_steps=0",
]  # fmt: skip


@pytest.mark.parametrize(("name", "mode"), [("tiny", "default"), ("balls_ddlp", "reduce-overhead")])
def test_compiled_steps_are_the_steps(name: str, mode: str, balls_file: Path, tmp_path: Path) -> None:
    changes = [] if name == "tiny" else CLIPS
    # Adam divides by the size of a gradient: with a larger eps, one that is all rounding moves nothing.
    steady = ["device=cpu", "steps=4", "batch_size=2", "log_every=1", "eval_frames=4", "optimizer.eps=1e-3"]
    files = []
    for compile in ("none", mode):
        run = tmp_path / compile
        settings = [f"data.path={balls_file}", f"out={run}", f"compile={compile}", *steady, *changes]
        config.save(config.load(name, settings), tmp_path / f"{compile}.yaml")
        files.append(str(tmp_path / f"{compile}.yaml"))
    tests = Path(__file__).parent
    answer = subprocess.run([sys.executable, "-c", TRAIN, *files], capture_output=True, text=True, cwd=tests)
    assert answer.returncode == 0, answer.stderr
    plain, compiled = (_losses(tmp_path / compile) for compile in ("none", mode))
    assert plain.keys() == {1, 2, 3, 4}
    assert compiled == pytest.approx(plain, rel=1e-4)


def _losses(run: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}
