"""The training step, on a toy objective with two optimisers: one file, and nothing else of the package knows it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from dlp_dyn.objectives.base import Losses, Objective, Update
from dlp_dyn.training.step import TrainingStep


@dataclass(frozen=True)
class ToyWeights:
    pull: float = 2.0
    push: float = 0.5


class Toy(Objective):
    """A pulls y = a x + b to x, and B pushes it away: each of the two parameters has an optimiser of its own."""

    Weights = ToyWeights

    def __init__(self) -> None:
        super().__init__(nn.ParameterDict({"a": nn.Parameter(torch.tensor(0.5)), "b": torch.tensor(0.1)}))

    def updates(self) -> tuple[Update, ...]:
        assert isinstance(self.model, nn.ParameterDict)
        return Update("first", (self.model["a"],)), Update("second", (self.model["b"],))

    def terms(self, update: str) -> tuple[str, ...]:
        return ("pull",) if update == "first" else ("push",)

    def forward(self, batch: Tensor, update: str = "first", step: int = 1) -> Losses:  # noqa: ARG002
        assert isinstance(self.model, nn.ParameterDict)
        error = (self.model["a"] * batch + self.model["b"] - batch).square()
        terms = {"pull": error} if update == "first" else {"push": -error}
        return Losses(terms, {f"error_{update}": error.detach()})


def toy() -> tuple[Toy, dict[str, torch.optim.Optimizer]]:
    objective = Toy()
    sgd = {update.name: torch.optim.SGD(update.parameters, lr=0.1) for update in objective.updates()}
    return objective, sgd  # type: ignore[return-value]


def test_updates_run_in_turn_and_each_moves_its_own() -> None:
    objective, optimizers = toy()
    x = torch.tensor([1.0, 2.0])
    logged = TrainingStep(objective, optimizers)([x], objective.weights(ToyWeights()))
    a = 0.5 - 0.1 * 2.0 * float((2 * (0.5 * x + 0.1 - x) * x).mean())
    b = 0.1 + 0.1 * 0.5 * float((2 * (a * x + 0.1 - x)).mean())  # the second sees what the first did
    assert_close(objective.get_parameter("model.a").detach(), torch.tensor(a))
    assert_close(objective.get_parameter("model.b").detach(), torch.tensor(b))
    assert {"loss_first", "loss_second", "loss/pull", "loss/push", "grad_norm_first"} <= logged.keys()
    assert all(p.grad is None for p in objective.parameters())


def test_accumulated_batches_are_one_batch() -> None:
    found = []
    for batches in (
        [torch.tensor([1.0, 2.0, 3.0, 4.0])],
        [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])],
    ):
        objective, optimizers = toy()
        logged = TrainingStep(objective, optimizers, max_grad_norm=0.3)(
            batches, objective.weights(ToyWeights())
        )
        found.append(
            [*(p.detach() for p in objective.parameters()), logged["loss/pull"], logged["grad_norm_first"]]
        )
    assert_close(found[0], found[1])


def test_gradients_are_cut_to_their_length_and_inspected_before() -> None:
    objective, optimizers = toy()
    seen = []
    take_step = TrainingStep(
        objective, optimizers, max_grad_norm=0.01, inspect=lambda update, terms: seen.append((update, *terms))
    )
    take_step([torch.tensor([5.0])], objective.weights(ToyWeights()))
    assert_close(objective.get_parameter("model.a").detach(), torch.tensor(0.5 + 0.1 * 0.01))
    assert seen == [("first", "pull"), ("second", "push")]
