import math

import torch

from dlp_dyn.training.divergence import DivergenceWatch


def test_the_watch_remembers_the_first_step_of_each_term() -> None:
    watch = DivergenceWatch({"model": ["a", "b"]}, torch.device("cpu"))
    for step, (a, b, norm) in enumerate(
        [(1, 2, 1), (900, -2, 1), (1, 1e5, 1), (math.inf, 1e5, math.nan)], start=1
    ):
        watch.add_terms(step, "model", [torch.tensor(float(a)), torch.tensor(float(b))])
        watch.add_grad_norm(step, "model", torch.tensor(float(norm)))
        if step == 2:
            assert watch.broken() is None
    assert watch.first.tolist() == [4, 3, 4]
    assert watch.broken() == "training broke at step 3: b is 1e+05"
    assert watch.ceilings == {"model": 4000}


def test_every_update_has_its_own_ceiling_and_norm() -> None:
    watch = DivergenceWatch({"encoder": ["a"], "decoder": ["b"]}, torch.device("cpu"), {"encoder": 5.0})
    watch.add_terms(1, "encoder", [torch.tensor(6.0)])
    watch.add_terms(1, "decoder", [torch.tensor(6.0)])
    watch.add_grad_norm(1, "decoder", torch.tensor(math.inf))
    assert watch.broken() == "training broke at step 1: a is 6, gradient norm (decoder) is inf"
    assert watch.ceilings == {"encoder": 5.0, "decoder": 7000.0}
