"""How weights move: optimisers, the learning rate as a function of the step, and the moving average of the weights."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from dlp_dyn.config import OptimizerConfig, TrainConfig
from dlp_dyn.nn.private import lerp_
from dlp_dyn.objectives.base import Update


def optimizers(cfg: TrainConfig, updates: Iterable[Update]) -> dict[str, torch.optim.Optimizer]:
    """AdamW for each update, under its name."""
    o = cfg.optimizer
    return {
        update.name: torch.optim.AdamW(update.parameters, cfg.lr, o.betas, o.eps, o.weight_decay, fused=True)
        for update in updates
    }


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], lr: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr


def learning_rate(cfg: TrainConfig, step: int) -> float:
    """Learning rate of a step counted from 1: linear warm-up to `lr`, then down to `lr * final_lr` at the last step."""
    o = cfg.optimizer
    if step <= o.warm_up_steps:
        return cfg.lr * step / o.warm_up_steps
    if o.schedule == "constant":
        return cfg.lr
    done = (step - o.warm_up_steps) / max(cfg.steps - o.warm_up_steps, 1)
    if o.schedule == "exponential":
        return cfg.lr * o.final_lr**done
    return cfg.lr * (o.final_lr + (1 - o.final_lr) * 0.5 * (1 + math.cos(math.pi * done)))


def average_decay(o: OptimizerConfig, step: int) -> float:
    """What is kept of the averaged weights at a step counted from 1; early steps count more, so that the start is soon
    forgotten.

    With a power (DiffuseDDLP, official code): none until `ema_start`, then 1 - n^-power after n - 1 steps, at most
    `ema_decay`.
    """
    assert o.ema_decay is not None
    if o.ema_power is None:
        return min(o.ema_decay, (1 + step) / (10 + step))
    n = max(step - o.ema_start, 1)
    return min(1 - n**-o.ema_power, o.ema_decay)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, o: OptimizerConfig, step: int) -> None:
    """Move the averaged weights towards the model's, every `ema_every` steps."""
    if step % o.ema_every:
        return
    decay = average_decay(o, step)
    lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for mine, theirs in zip(average.buffers(), model.buffers(), strict=True):
        mine.copy_(theirs)
