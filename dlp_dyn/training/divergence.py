"""Finding the step at which training broke, without waiting for the device at every step."""

import math

import torch
from torch import Tensor

EXPLODED = 1_000.0


class DivergenceWatch:
    """Remembers on the device, for every loss term and the gradient norm, the first step at which it broke.

    Broken means not finite, or a weighted term of more than 1,000 times the loss of the run's first step. Each step
    costs a few tiny operations on the device and no transfer; `broken` transfers. It is asked when metrics are
    logged, which transfers anyway, and before each checkpoint, so that no checkpoint holds broken weights.
    """

    def __init__(self, names: list[str], device: torch.device, ceiling: float | None = None) -> None:
        self._names = [*names, "gradient norm"]
        self._first = torch.full((len(self._names),), math.inf, dtype=torch.float64, device=device)
        self._value = torch.zeros(len(self._names), device=device)
        self._ceiling = None if ceiling is None else torch.tensor(ceiling, device=device)

    @property
    def ceiling(self) -> float | None:
        """What a weighted term may not exceed; kept in checkpoints."""
        return None if self._ceiling is None else float(self._ceiling)

    def add_terms(self, step: int, weighted_terms: list[Tensor]) -> None:
        values = torch.stack(weighted_terms).detach().float()
        if self._ceiling is None:
            self._ceiling = EXPLODED * (1 + values.abs().sum())
        self._note(step, slice(0, -1), values, ~(values.abs() <= self._ceiling))  # NaN compares as False

    def add_grad_norm(self, step: int, norm: Tensor) -> None:
        value = norm.detach().float()[None]
        self._note(step, slice(-1, None), value, ~value.isfinite())

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
