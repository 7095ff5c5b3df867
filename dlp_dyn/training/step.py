"""The training step, the only one: the loop calls it, and every benchmark that times or counts a step."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from dlp_dyn.objectives.base import Objective, Update, weighted_sum

Inspect = Callable[[str, dict[str, Tensor]], None]


class TrainingStep:
    """Every update of an objective, one after the other, each on all batches of the step.

    optimizers: one for each update, under its name. wrapped: the objective as DistributedDataParallel or autocast wrap
    it. max_grad_norm: longer gradients of an update are cut to this length.
    inspect: called with an update and its weighted terms before each backward pass, and may raise.
    """

    def __init__(
        self,
        objective: Objective,
        optimizers: Mapping[str, torch.optim.Optimizer],
        wrapped: nn.Module | None = None,
        max_grad_norm: float | None = None,
        inspect: Inspect | None = None,
    ) -> None:
        self.objective, self.optimizers = objective, optimizers
        self.updates = objective.updates()
        assert [update.name for update in self.updates] == list(optimizers), "one optimiser for each update"
        self.wrapped = objective if wrapped is None else wrapped
        self.max_grad_norm = float("inf") if max_grad_norm is None else max_grad_norm
        self.inspect = inspect

    def __call__(
        self, batches: Sequence[Any], weights: Mapping[str, Mapping[str, float]], step: int = 1
    ) -> dict[str, Tensor]:
        """Take a step. Gives means over the batches: `loss`, `loss/TERM`, `metric/NAME`, and `grad_norm`.

        batches: more than one accumulate their gradients. weights: of every update's terms. step: counted from 1.
        Where there are several updates, `loss` and `grad_norm` carry their names: `loss_NAME`.
        """
        logged: dict[str, Tensor] = {}
        for update in self.updates:
            suffix = "" if len(self.updates) == 1 else f"_{update.name}"
            rows = [
                self._accumulate(batch, update, weights[update.name], step, len(batches), last)
                for batch, last in zip(batches, [False] * (len(batches) - 1) + [True], strict=True)
            ]
            means = {name: _mean([row[name] for row in rows]) for name in rows[0]}
            logged[f"loss{suffix}"] = means.pop("loss")
            logged |= means
            logged[f"grad_norm{suffix}"] = clip_grad_norm_(update.parameters, self.max_grad_norm)
            self.optimizers[update.name].step()
            self.objective.zero_grad(set_to_none=True)  # what this loss left on other parameters goes too
        return logged

    def _accumulate(
        self, batch: Any, update: Update, weights: Mapping[str, float], step: int, n_batches: int, last: bool
    ) -> dict[str, Tensor]:
        if torch.cuda.is_available():  # importing the compiler for it takes half a minute
            torch.compiler.cudagraph_mark_step_begin()  # what earlier batches gave is not needed any more
        with self._synchronised(last):
            terms, metrics = self.wrapped(batch, update.name, step)
            loss, means = weighted_sum(terms, weights)
            if self.inspect is not None:
                self.inspect(update.name, {name: weights[name] * means[f"loss/{name}"] for name in weights})
            (loss / n_batches).backward()
        return {"loss": loss.detach()} | means | {f"metric/{k}": v.mean() for k, v in metrics.items()}

    def _synchronised(self, last: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients once a step, with the last batch."""
        if last or not isinstance(self.wrapped, DistributedDataParallel):
            return nullcontext()
        return self.wrapped.no_sync()


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean(0)
