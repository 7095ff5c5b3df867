"""Two processes train what one does: the same losses and weights, the data shared, one writer."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import set_seed
from many_processes import noted
from torch import Tensor

from dlp_dyn import checkpoint, config
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.clips import ClipDataset
from dlp_dyn.data.synthetic import cache_folder
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.image_elbo import ImageElbo
from dlp_dyn.particles import mean
from dlp_dyn.training.loop import resume, train
from dlp_dyn.training.state import TrainingState

# Sums of float32 in another order, through as many steps of Adam as a run has. Weights are of order 0.1.
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 1e-5
PROCESSES = 2
RANKS = range(PROCESSES)
TIMED = ("train/batches_per_second", "train/waiting_for_data")
# Adam divides by the size of a gradient: with a larger eps, one that is all rounding moves nothing.
STEADY = ["optimizer.eps=1e-3", "device=cpu", "log_every=1", "eval_every=4", "eval_frames=4", "save_every=4"]
DYNAMIC = ["dynamics.kind=graph", "dynamics.window=2", "dynamics.graph.hidden_dim=16", "batch_size=4"]


def settings(data: Path, out: Path, image: Path) -> dict[str, TrainConfig]:
    """The runs that both kinds of training do; `image`: a run that dynamics are trained on."""

    def tiny(name: str, *overrides: str) -> TrainConfig:
        cfg = config.load("tiny", [f"data.path={data}", *STEADY, "batch_size=4", "steps=8", *overrides])
        return replace(cfg, out=str(out / name))

    clips = ["tracking.static_frames=2", "data.clip_length=4", "steps=4"]
    return {
        "image": tiny("image", "steps=10", "sample_every=10"),
        "accumulated": tiny("accumulated", "accumulate=2", "optimizer.ema_decay=0.9"),
        "joint": tiny("joint", "weights.reconstruction_dynamic=1", *DYNAMIC, *clips),
        "second": tiny("second", *DYNAMIC, "dynamics.rollout_steps=2", "stage=dynamics", f"image={image}"),
        "halves": tiny("halves", "steps=4"),
    }


@dataclass
class Runs:
    """Folders of runs by one process and by two, what each of two processes noted, and what the one read."""

    one: Path
    two: Path
    notes: list[dict[str, Any]]
    read: list[int]

    def of(self, name: str) -> list[dict[str, Any]]:
        """What the processes noted of a run."""
        return [note for note in self.notes if Path(note["path"]).stem == name]


@pytest.fixture(scope="module")
def runs(balls_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("processes")
    one, two, read = folder / "one", folder / "two", []
    image = train(
        config.load("tiny", [f"data.path={balls_file}", *STEADY, "steps=1", f"out={folder / 'start'}"])
    )
    for name, cfg in settings(balls_file, one, image).items():
        with noted(read if name == "image" else [], []):
            train(cfg, sample=mean)
    plan = [["resume", str(one / "halves")]]
    for name, cfg in settings(balls_file, two, folder / "start").items():
        config.save(cfg, folder / f"{name}.yaml")
        plan.append(["train", str(folder / f"{name}.yaml")])
    (folder / "plan.json").write_text(json.dumps(plan))
    # The particles that one process encoded are taken away: two have to encode them again.
    for file in (cache_folder() / "particles").iterdir():
        file.unlink()
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(PROCESSES)]
    tests = Path(__file__).parent
    answer = subprocess.run(
        [sys.executable, *launch, str(tests / "many_processes.py"), str(folder / "plan.json")],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=tests.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert answer.returncode == 0, answer.stderr
    resume(two / "halves", ["steps=8"], sample=mean)
    notes = [json.loads((folder / f"plan.{rank}.json").read_text()) for rank in range(PROCESSES)]
    return Runs(one, two, [note for process in notes for note in process], read)


def rows(run: Path) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMED} for row in found]


def weights(run: Path) -> dict[str, Tensor]:
    return checkpoint.load_weights(run / "checkpoints" / "last")


def assert_alike(a: Path, b: Path) -> None:
    for mine, theirs in zip(rows(a), rows(b), strict=True):
        assert mine == pytest.approx(theirs, rel=LOSS_TOLERANCE, abs=LOSS_TOLERANCE)
    mine, theirs = weights(a), weights(b)
    assert mine.keys() == theirs.keys()
    for name, weight in mine.items():
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=WEIGHT_TOLERANCE, msg=name)


@pytest.mark.parametrize("name", ["image", "accumulated", "joint", "second"])
def test_two_processes_learn_what_one_does(runs: Runs, name: str) -> None:
    assert_alike(runs.two / name, runs.one / name)
    assert {note["world"] for note in runs.of(name)} == {PROCESSES}


def test_accumulated_parts_learn_what_a_whole_batch_does(runs: Runs) -> None:
    for mine, theirs in zip(rows(runs.two / "accumulated"), rows(runs.one / "image"), strict=False):
        if "train/loss" in mine:
            assert mine == pytest.approx(theirs, rel=LOSS_TOLERANCE, abs=LOSS_TOLERANCE)


@pytest.mark.parametrize("kind", ["one", "two"])
def test_a_run_goes_on_with_another_number_of_processes(runs: Runs, kind: str) -> None:
    """One process for 4 steps and two for 4 more, or two and then one, make 8 steps of one."""
    halves = getattr(runs, kind) / "halves"
    whole = [row for row in rows(runs.one / "image") if row["step"] <= 8 and "train/loss" in row]
    assert [row["step"] for row in whole] == list(range(1, 9))
    for mine, theirs in zip([r for r in rows(halves) if "train/loss" in r], whole, strict=True):
        assert mine == pytest.approx(theirs, rel=LOSS_TOLERANCE, abs=LOSS_TOLERANCE)
    assert checkpoint.load_training_state(halves / "checkpoints" / "last")["step"] == 8


def test_every_clip_of_an_epoch_is_read_once_by_one_process(runs: Runs, balls_file: Path) -> None:
    n_clips, share = len(ClipDataset(balls_file)), 2
    first, second = (note["reads"] for note in runs.of("image"))
    steps = [first[i : i + share] + second[i : i + share] for i in range(0, len(first), share)]
    stream = [clip for step in steps for clip in step]
    assert stream == runs.read  # the clips of every step are those of one process, in the same order
    assert sorted(stream[:n_clips]) == list(range(n_clips))
    assert not set(first[: n_clips // PROCESSES]) & set(second[: n_clips // PROCESSES])


@pytest.mark.parametrize("name", ["image", "accumulated", "joint", "second", "halves"])
def test_one_process_writes(runs: Runs, name: str) -> None:
    main, *others = (
        [w for note in runs.of(name) if note["rank"] == r for w in note["writes"]] for r in RANKS
    )
    assert {"write", "__init__"} <= set(main)
    assert others == [[]]
    assert ("save" in main) == (name == "second")
    assert not list((runs.two / name).rglob("*.part"))


def test_processes_draw_noise_of_their_own(runs: Runs) -> None:
    states = checkpoint.load_training_state(runs.two / "image" / "checkpoints" / "last")["random"]
    assert len(states) == PROCESSES
    assert not torch.equal(states[0]["torch"], states[1]["torch"])


def test_noise_does_not_start_over_with_another_number_of_processes(runs: Runs) -> None:
    def noise(process: int, processes: int) -> list[float]:
        set_seed(process)
        state.load(runs.two / "image" / "checkpoints" / "last", process, processes)
        return torch.rand(3).tolist()

    model = DLP(config.load("tiny", ["data.path=unused"]).model)
    objective = ImageElbo(model)
    optimizers: dict[str, torch.optim.Optimizer] = {"model": torch.optim.AdamW(model.parameters())}
    data = checkpoint.load_training_state(runs.two / "image" / "checkpoints" / "last")["data"]
    state = TrainingState(model, objective.updates(), optimizers, data=data, objective=objective.state())
    found = [noise(0, 1), noise(0, 3), noise(1, 3)]
    for seed in range(PROCESSES):
        set_seed(seed)
        found.append(torch.rand(3).tolist())
    assert len({tuple(numbers) for numbers in found}) == len(found)
    assert noise(1, 3) == found[2]
