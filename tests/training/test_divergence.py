import math

import torch

from dlp_dyn.training.divergence import DivergenceWatch


def test_the_watch_remembers_the_first_step_of_each_term() -> None:
    watch = DivergenceWatch(["a", "b"], torch.device("cpu"))
    for step, (a, b, norm) in enumerate(
        [(1, 2, 1), (900, -2, 1), (1, 1e5, 1), (math.inf, 1e5, math.nan)], start=1
    ):
        watch.add_terms(step, [torch.tensor(float(a)), torch.tensor(float(b))])
        watch.add_grad_norm(step, torch.tensor(float(norm)))
        if step == 2:
            assert watch.broken() is None
    assert watch.first.tolist() == [4, 3, 4]
    assert watch.broken() == "training broke at step 3: b is 1e+05"
    assert watch.ceiling == 4000
