"""What a training run has to bring back to go on: weights, optimiser, random generators, step."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object, set_seed

from dlp_dyn import checkpoint
from dlp_dyn.errors import InputError
from dlp_dyn.objectives.base import Update
from dlp_dyn.sharing.mixin import SharedModel
from dlp_dyn.sharing.weights import load_into, load_weights
from dlp_dyn.training import older_runs


@dataclass
class TrainingState:
    """A model on its way. `average`: moving average of its weights, where one is kept.

    optimizers: one for each update of the objective. best: highest held-out score so far. data: fingerprint of what
    it is trained on. ceilings: what the loss terms of each update may not exceed (`DivergenceWatch`). objective: what
    it has to bring back itself (`Objective.state`).
    """

    model: SharedModel
    updates: tuple[Update, ...]
    optimizers: dict[str, torch.optim.Optimizer]
    average: SharedModel | None = None
    step: int = 0
    best: float = float("-inf")
    data: str = ""
    ceilings: dict[str, float] = field(default_factory=dict)
    objective: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def result(self) -> SharedModel:
        """The model to use, evaluate and save as weights."""
        return self.model if self.average is None else self.average

    def save_best(self, folder: Path, config_yaml: str) -> None:
        """Save the weights of the highest score."""
        checkpoint.save(folder, self.result.state_dict(), config_yaml, score=self.best)

    def save(self, folder: Path, config_yaml: str, main: bool) -> None:
        """Save everything. All processes have to call it; the main one writes."""
        randomness = gather_object([random_state()])
        if not main:
            return
        state = {
            "step": self.step,
            "best": self.best,
            "data": self.data,
            "ceilings": self.ceilings,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "model": None if self.average is None else self.model.state_dict(),
            "random": randomness,
            "objective": self.objective,
        }
        checkpoint.save(folder, self.result.state_dict(), config_yaml, state)

    def load(self, folder: Path, process: int, processes: int) -> None:
        """Bring back what `save` wrote. With another number of processes, each draws noise that none drew before.

        Raises InputError for files that are damaged, and for those of another run.
        """
        with checkpoint.going_on_from(folder):
            state = older_runs.training_state(
                checkpoint.load_training_state(folder), self.model, self.updates
            )
            if state.get("data", self.data) != self.data:
                raise InputError(
                    f"{folder}: was trained on other data than there is now in data.path; give the former as "
                    "data.path=FILE, or start another run"
                )
            load_into(self.result, load_weights(folder), folder)
            if self.average is not None:
                load_into(self.model, state["model"] or self.average.state_dict(), folder)
            if state["optimizers"].keys() != self.optimizers.keys():
                raise InputError(
                    f"{folder}: optimisers {', '.join(state['optimizers'])}, the config asks for "
                    f"{', '.join(self.optimizers)}: resume with the objective that the run was started with"
                )
            for name, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
                check_moments(optimizer)
            for name, tensor in state.get("objective", {}).items():
                self.objective[name].copy_(tensor)
            self.step, self.best, self.ceilings = step_of(state), float(state["best"]), state["ceilings"]
            if len(state["random"]) == processes:
                set_random_state(state["random"][process])
            else:
                mixed = np.random.SeedSequence([torch.initial_seed(), self.step, processes])
                set_seed(int(mixed.generate_state(1)[0]))


def step_of(state: dict[str, Any]) -> int:
    """The step of a training state. Raises ValueError where that is none."""
    step = state["step"]
    if not isinstance(step, int) or not 0 <= step < 2**63:
        raise ValueError(f"step {step!r}")
    return step


def check_moments(optimizer: torch.optim.Optimizer) -> None:
    """Raises ValueError for moments of other weights than an optimiser has, and for such as are no numbers."""
    for parameter, moments in optimizer.state.items():
        for x in moments.values():
            if (
                isinstance(x, torch.Tensor)
                and x.ndim
                and (x.shape != parameter.shape or not x.isfinite().all())
            ):
                raise ValueError(
                    f"moments of {tuple(x.shape)} for weights of {tuple(parameter.shape)}, or no numbers"
                )


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
