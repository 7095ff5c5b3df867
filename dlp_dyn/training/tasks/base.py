"""What the training loop asks of a kind of training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Part


@runtime_checkable
class Task(Protocol):
    """Data, evaluation and pictures."""

    @property
    def clips(self) -> Any:
        """What is trained on: a Dataset with a length."""
        ...

    def collate(self, clips: Sequence[Any]) -> Any:
        """Clips as a batch, which the objective takes."""
        ...

    def evaluate(self, model: Any) -> dict[str, float]:
        """Metrics of a model on held-out data."""
        ...

    def score(self, metrics: dict[str, float]) -> float:
        """Of what `evaluate` gives; the checkpoint with the largest is kept as the best."""
        ...

    def warnings(self, metrics: dict[str, float]) -> Sequence[str]:
        """What is wrong with what `evaluate` gave, each with its remedy; nothing where all is well."""
        ...

    def draw(self, model: Any, folder: Path, step: int) -> None:
        """Write pictures into a folder, named after the step."""
        ...


def held_out(rollouts: Rollouts) -> Part:
    """What a training is evaluated on: the validation part, or, in a file too small to have one, the training part."""
    return "validation" if len(rollouts.part("validation")) else "train"
