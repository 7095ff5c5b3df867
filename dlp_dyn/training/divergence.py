"""Finding the step at which training broke, without waiting for the device at every step."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

EXPLODED = 1_000.0


class DivergenceWatch:
    """Remembers on the device, for every loss term and gradient norm, the first step at which it broke.

    Broken means not finite, or a weighted term of more than 1,000 times its update's loss in the run's first step.
    Each step costs a few tiny operations on the device and no transfer; `broken` transfers. It is asked when metrics
    are logged, which transfers anyway, and before each checkpoint, so that no checkpoint holds broken weights.

    terms: names of the terms of each update. ceilings: what `ceilings` gave before, of a run that is resumed.
    """

    def __init__(
        self,
        terms: Mapping[str, Sequence[str]],
        device: torch.device,
        ceilings: Mapping[str, float] | None = None,
    ) -> None:
        self._names: list[str] = []
        self._terms: dict[str, slice] = {}
        self._norm: dict[str, slice] = {}
        for update, names in terms.items():
            first = len(self._names)
            self._terms[update] = slice(first, first + len(names))
            self._norm[update] = slice(first + len(names), first + len(names) + 1)
            norm = "gradient norm" if len(terms) == 1 else f"gradient norm ({update})"
            self._names += [*names, norm]
        self._first = torch.full((len(self._names),), math.inf, dtype=torch.float64, device=device)
        self._value = torch.zeros(len(self._names), device=device)
        self._ceilings = {
            name: torch.tensor(value, device=device) for name, value in (ceilings or {}).items()
        }

    @property
    def ceilings(self) -> dict[str, float]:
        """What the weighted terms of each update may not exceed; kept in checkpoints."""
        return {name: float(value) for name, value in self._ceilings.items()}

    def add_terms(self, step: int, update: str, weighted_terms: Sequence[Tensor]) -> None:
        values = torch.stack(list(weighted_terms)).detach().float()
        if update not in self._ceilings:
            self._ceilings[update] = EXPLODED * (1 + values.abs().sum())
        good = values.abs() <= self._ceilings[update]  # NaN compares as False
        self._note(step, self._terms[update], values, ~good)

    def add_grad_norm(self, step: int, update: str, norm: Tensor) -> None:
        value = norm.detach().float()[None]
        self._note(step, self._norm[update], value, ~value.isfinite())

    def _note(self, step: int, where: slice, values: Tensor, bad: Tensor) -> None:
        new = bad & self._first[where].isinf()
        self._value[where] = torch.where(new, values, self._value[where])
        self._first[where] = torch.where(new, step, self._first[where])

    @property
    def first(self) -> Tensor:
        """Step at which each name broke first; infinite where it never did."""
        return self._first

    def broken(self, first: Tensor | None = None) -> str | None:
        """What broke first and when, in words, or None. `first`: steps gathered from all processes."""
        steps = (self._first if first is None else first).tolist()
        step = min(steps)
        if math.isinf(step):
            return None
        culprits = [
            f"{name} is {value:.4g}" if value else name
            for name, value, when in zip(self._names, self._value.tolist(), steps, strict=True)
            if when == step
        ]
        more = f" and {len(culprits) - 3} more" if len(culprits) > 3 else ""
        return f"training broke at step {int(step)}: {', '.join(culprits[:3])}{more}"
