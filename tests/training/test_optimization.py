from dataclasses import replace

import numpy as np
import pytest
import torch

from dlp_dyn import config
from dlp_dyn.config import OptimizerConfig
from dlp_dyn.objectives.schedules import ramped
from dlp_dyn.training import optimization


def test_learning_rate_follows_its_closed_forms() -> None:
    cfg = config.load("tiny", ["data.path=x", "lr=2", "steps=110", "optimizer.warm_up_steps=10"])

    def rates(schedule: str) -> list[float]:
        one = replace(cfg, optimizer=replace(cfg.optimizer, schedule=schedule, final_lr=0.01))
        return [optimization.learning_rate(one, step) for step in (1, 5, 10, 60, 110)]

    assert rates("constant") == pytest.approx([0.2, 1, 2, 2, 2])
    assert rates("cosine") == pytest.approx([0.2, 1, 2, 2 * (0.01 + 0.99 / 2), 0.02])
    assert rates("exponential") == pytest.approx([0.2, 1, 2, 0.2, 0.02])


def test_a_ramp_rises_from_nothing_to_the_weight() -> None:
    weights = {"a": 2.0, "b": 3.0}
    for step, share in ((1, 0), (10, 0), (15, 0.25), (30, 1), (99, 1)):
        assert ramped(weights, {"a": [10, 30]}, step) == {"a": 2 * share, "b": 3.0}
    assert weights == {"a": 2.0, "b": 3.0}


def test_the_average_of_weights_is_the_weighted_sum_of_the_past() -> None:
    model, average = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    past, shares = [average.weight.item()], [1.0]
    for step in range(1, 100):
        with torch.no_grad():
            model.weight.fill_(float(step))
        optimization.update_average(average, model, OptimizerConfig(ema_decay=0.9), step)
        keep = min(0.9, (1 + step) / (10 + step))
        past, shares = [*past, float(step)], [*(keep * s for s in shares), 1 - keep]
    assert sum(shares) == pytest.approx(1)
    assert average.weight.item() == pytest.approx(np.dot(past, shares), rel=1e-5)
