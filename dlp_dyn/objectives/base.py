"""The contract between an objective and the training step: updates, terms, and the one function that weighs them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Update:
    """One optimiser's part of a training step: its name, and the parameters that it moves."""

    name: str
    parameters: tuple[nn.Parameter, ...] = field(repr=False)


class Losses(NamedTuple):
    """What an objective gives for a batch.

    terms: unweighted, one number a sample. metrics: detached, for the log alone.
    """

    terms: dict[str, Float[Tensor, " B"]]
    metrics: dict[str, Float[Tensor, " B"]]


class Objective(nn.Module):
    """Holds a model and is not the model: what DistributedDataParallel wraps, and what `compile` compiles.

    A subclass gives `Weights`, a dataclass with a field and a default weight for each of its terms (0 for optional
    ones), and `forward`. One with several updates also gives `updates` and `terms`: in a training step they run in
    their order, each with an optimiser of its own.
    """

    Weights: ClassVar[type]

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def updates(self) -> tuple[Update, ...]:
        """One update of every parameter that learns, unless a subclass says otherwise."""
        return (Update("model", tuple(p for p in self.model.parameters() if p.requires_grad)),)

    def terms(self, update: str) -> tuple[str, ...]:  # noqa: ARG002 - one update has all terms
        """Names of the terms that `forward` gives for an update, in their order."""
        return tuple(f.name for f in fields(self.Weights))

    def state(self) -> dict[str, Tensor]:
        """What the objective itself has to bring back for an exact resume, beside the model."""
        return {name: x for name, x in self.named_buffers() if not name.startswith("model.")}

    def notes(self) -> tuple[str, ...]:
        """What follows from the settings and is worth a line when training starts."""
        return ()

    def weights(self, values: object) -> dict[str, dict[str, float]]:
        """Of the terms of every update, out of a dataclass that has a field for each."""
        return {
            update.name: {term: getattr(values, term) for term in self.terms(update.name)}
            for update in self.updates()
        }

    def forward(self, batch: Any, update: str = "model", step: int = 1) -> Losses:
        """Unweighted terms and metrics of a batch. step: counted from 1; warm-ups and ramps depend on it."""
        raise NotImplementedError


def weighted_sum(
    terms: Mapping[str, Float[Tensor, " B"]], weights: Mapping[str, float]
) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """Weighted sum of the batch means of unweighted per-sample terms, and the detached means, as `loss/TERM`.

    Raises AssertionError when a term has no weight or a weight has no term.
    """
    assert terms.keys() == weights.keys(), f"terms {sorted(terms)} != weights {sorted(weights)}"
    means = {key: term.mean() for key, term in terms.items()}
    loss = torch.stack([weights[key] * value for key, value in means.items()]).sum()
    return loss, {f"loss/{key}": value.detach() for key, value in means.items()}
