"""What a training run has to bring back to go on: weights, optimiser, random generators, step."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object, set_seed

from dlp_dyn import checkpoint
from dlp_dyn.image.model import DLP
from dlp_dyn.sharing.weights import load_into, load_weights
from dlp_dyn.video import VideoModel


@dataclass
class TrainingState:
    """A model on its way. `average`: moving average of its weights, where one is kept.

    best: highest held-out score so far. ceiling: what a loss term may not exceed (`DivergenceWatch`).
    """

    model: DLP | VideoModel
    optimizer: torch.optim.Optimizer
    average: DLP | VideoModel | None = None
    step: int = 0
    best: float = float("-inf")
    ceiling: float | None = None

    @property
    def result(self) -> DLP | VideoModel:
        """The model to use, judge and save as weights."""
        return self.model if self.average is None else self.average

    def save_weights(self, folder: Path, config_yaml: str) -> None:
        checkpoint.save(folder, self.result.state_dict(), config_yaml)

    def save(self, folder: Path, config_yaml: str, main: bool) -> None:
        """Save everything. All processes have to call it; the main one writes."""
        randomness = gather_object([random_state()])
        if not main:
            return
        state = {
            "step": self.step,
            "best": self.best,
            "ceiling": self.ceiling,
            "optimizer": self.optimizer.state_dict(),
            "model": None if self.average is None else self.model.state_dict(),
            "random": randomness,
        }
        checkpoint.save(folder, self.result.state_dict(), config_yaml, state)

    def load(self, folder: Path, process: int, processes: int) -> None:
        """Bring back what `save` wrote. With another number of processes, each draws noise that none drew before."""
        state = checkpoint.load_training_state(folder)
        load_into(self.result, load_weights(folder), folder)
        if self.average is not None:
            load_into(self.model, state["model"] or self.average.state_dict(), folder)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best, self.ceiling = state["step"], state["best"], state["ceiling"]
        if len(state["random"]) == processes:
            set_random_state(state["random"][process])
        else:
            mixed = np.random.SeedSequence([torch.initial_seed(), self.step, processes]).generate_state(1)
            set_seed(int(mixed[0]))


def random_state() -> dict[str, Any]:
    """The global generators of this process, in types that `torch.load(weights_only=True)` accepts."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
