"""What the benchmarks count, and that the script for a GPU runs; no times."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import check, gpu, loader
from benchmarks.count import ceiling, count, launches
from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.clips import ClipDataset, collate

CPU = torch.device("cpu")


def test_operations_and_bytes_are_counted() -> None:
    x, y = torch.ones(4, 8, requires_grad=True), torch.ones(8, 2)
    counted = count(lambda: (x @ y).view(8).exp())
    assert counted.operations == launches(lambda: (x @ y).view(8).exp(), CPU) == 2
    product, exponential = 4 * (4 * 8 + 8 * 2 + 4 * 2), 4 * (8 + 8)
    assert counted.moved == product + exponential
    assert count(lambda: (x @ y).sum().backward()).operations > 3


def test_one_call_measures_steps_and_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "SCRIPTS", ("no_such_script",))
    gpu.measure(CPU, True, tmp_path / "gpu.json")
    answer = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["way"] for row in answer["steps"]] == ["ours, eager", "ours, fused compositor"]
    for row in answer["steps"]:
        assert min(row[name] for name in ("launches", "flops", "moved", "mfu", "frames_per_second")) > 0
    assert answer["left_out"] == ["no_such_script: CalledProcessError"]
    assert answer["ceiling"]["flops"].keys() == {"float32", "bfloat16"}


@pytest.mark.slow
@pytest.mark.parametrize("way", [gpu.WAYS[0], replace(gpu.WAYS[5], name="half")], ids=lambda way: way.name)
def test_other_ways_take_the_step_too(way: gpu.Way) -> None:
    row = gpu.step_row(way, False, CPU, True, ceiling(CPU))
    assert row["operations"] > 100
    assert row["peak_bytes"] is None


def test_nothing_has_become_dearer() -> None:
    """Counts, which a busy machine does not change; `python -m benchmarks.check` prints them."""
    ratios = check.measured()
    assert ratios.keys() == check.KNOWN.keys()
    grown = {name: ratio for name, ratio in ratios.items() if ratio > check.SLACK * check.KNOWN[name]}
    assert not grown


def test_both_loaders_read_the_same_clips(tmp_path: Path) -> None:
    write_balls(tmp_path / "balls.h5", (2, 0, 0), 6, image_size=32, n_balls=2, radius=4.0, speed=1.0)
    data = ClipDataset(tmp_path / "balls.h5", "train", 3)
    loader.write_pictures(data, tmp_path)
    ours = collate(data.__getitems__([0, 5])).video
    torch.testing.assert_close(loader.read_pictures(tmp_path, data.starts[[0, 5]], 3), ours, rtol=0, atol=0)
