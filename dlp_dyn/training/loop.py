"""Training: clips -> loss -> step -> log -> evaluate -> save, on a CPU, a GPU or several."""

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, set_seed
from torch import Tensor
from torch.utils.data import DataLoader

from dlp_dyn import checkpoint, config, folders
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.inspection import Inspection, inspect_rollouts
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.synthetic import WRITERS, local_file
from dlp_dyn.errors import InputError
from dlp_dyn.nn.private import forget_accelerator
from dlp_dyn.objectives.base import Objective
from dlp_dyn.objectives.schedules import ramped
from dlp_dyn.particles import Draw, rsample
from dlp_dyn.progress import track
from dlp_dyn.sharing.mixin import SharedModel
from dlp_dyn.training import run_log, setup, trackers
from dlp_dyn.training.adapt import adapt
from dlp_dyn.training.divergence import DivergenceWatch
from dlp_dyn.training.interrupt import Interrupted, interrupts, outlive_signals
from dlp_dyn.training.optimization import learning_rate, optimizers, set_learning_rate, update_average
from dlp_dyn.training.sampler import ClipOrder
from dlp_dyn.training.state import TrainingState
from dlp_dyn.training.step import TrainingStep
from dlp_dyn.training.tasks.base import Task, held_out

# How long processes wait for the main one, which alone encodes data, evaluates and writes.
_PATIENCE = timedelta(hours=6)


def train(cfg: TrainConfig, resumed: bool = False, sample: Draw = rsample) -> Path:
    """Train a model as a config says; gives the run folder `cfg.out`.

    The `best` checkpoint is the one with the highest score on held-out data. resumed: continue from the `last`
    checkpoint in `cfg.out`; on a CPU the weights come out bit for bit as those of a run that never stopped.
    sample: how latents are drawn; `mean` trains without noise.

    Raises InputError for settings and data that do not fit, for a run folder that is taken or in use, when the disk
    is full, and when the loss breaks; Interrupted, after saving, on Ctrl-C or SIGTERM.
    """
    cfg = _anchored(setup.resolve_config(cfg))
    trackers.check(cfg.log_with)
    torch.set_flush_denormal(
        True
    )  # a trained model is full of tiny numbers: a step took 6 times longer on a CPU
    accelerator = _accelerator(cfg)
    own = run_log.owned(Path(cfg.out), new=not resumed) if accelerator.is_main_process else nullcontext()
    with own:
        return _train(cfg, accelerator, resumed, sample)


def _train(cfg: TrainConfig, accelerator: Accelerator, resumed: bool, sample: Draw) -> Path:
    device, main = accelerator.device, accelerator.is_main_process
    rollouts = None
    if cfg.reads_rollouts:
        rollouts = Rollouts(local_file(cfg.data.path, cfg.frame_size, quiet=not main), cfg.data.view)
    starts_from_data = cfg.model.reference != "none" and cfg.image is None
    found = inspect_rollouts(rollouts) if rollouts is not None and (starts_from_data or cfg.auto) else None
    if cfg.auto and rollouts is not None and found is not None:
        cfg = adapt(cfg, rollouts, found)
    run, config_yaml = Path(cfg.out), config.to_yaml(cfg)
    last, best = run / "checkpoints" / "last", run / "checkpoints" / "best"

    objective = _objective(cfg, device, sample, found if starts_from_data else None)
    state = _new_state(cfg, objective)
    state.data = rollouts.fingerprint() if rollouts is not None else ""
    assert isinstance(state.model, setup.Model)
    with accelerator.main_process_first():  # it encodes and writes what the others then only read
        task = setup.build_task(cfg, state.model, rollouts)
    set_seed(cfg.seed, device_specific=True)  # every process draws its own noise
    if resumed:
        state.load(last, accelerator.process_index, accelerator.num_processes)
        state.best = max(state.best, checkpoint.load_score(best))  # it may be newer than `last`
    accelerator.wait_for_everyone()

    if cfg.compile != "none":
        objective.compile(mode=cfg.compile)
    updates = objective.updates()
    full = objective.weights(cfg.weights)
    batches = iter(_loader(cfg, task, state.step, accelerator))
    watch = DivergenceWatch({name: list(terms) for name, terms in full.items()}, device, state.ceilings)
    meter = run_log.Meter()
    # A GPU would have to be waited for. A CPU need not be, and its grid_sample crashes on NaN coordinates.
    checks_each_step = device.type == "cpu" and accelerator.num_processes == 1

    def inspect(update: str, terms: dict[str, Tensor]) -> None:
        watch.add_terms(state.step + 1, update, list(terms.values()))
        if checks_each_step:
            _stop_if_broken(accelerator, watch, last)

    renamed = config.notes(run_log.settings(run)) if resumed else []  # before it is written anew
    wrapped = accelerator.prepare_model(objective)
    take_step = TrainingStep(objective, state.optimizers, wrapped, cfg.optimizer.max_grad_norm, inspect)
    if not resumed:
        state.save(last, config_yaml, main)  # whatever comes, there is something to go on from
    with (
        run_log.RunLog(run, cfg, device, state.step, cfg.log_with) if main else nullcontext() as log,
        interrupts() as interrupt,
        track("train", cfg.steps, "steps", start=state.step, quiet=not main) as progress,
    ):
        notes = [found.summary()] if found is not None and not resumed else []
        notes += [*objective.notes(), *_notes_on_data(rollouts)]
        if resumed:
            notes += [f"{run}: going on after step {state.step} of {cfg.steps}", *renamed]
        for line in notes:
            progress.say(line)
        for step in range(state.step + 1, cfg.steps + 1):
            weights = {name: ramped(full[name], cfg.ramps, step) for name in full}
            lr = learning_rate(cfg, step)
            set_learning_rate(state.optimizers.values(), lr)

            asked = time.perf_counter()
            clips = [_next(batches) for _ in range(cfg.accumulate)]
            meter.waited += time.perf_counter() - asked
            logged = take_step([clip.to(device) for clip in clips], weights, step)
            norms = {name: logged.pop(name) for name in list(logged) if name.startswith("grad_norm")}
            meter.add(logged, len(clips))
            state.step = step
            if state.average is not None and cfg.optimizer.ema_decay:
                update_average(state.average, state.model, cfg.optimizer, step)
            for update, norm in zip(updates, norms.values(), strict=True):
                watch.add_grad_norm(step, update.name, norm)

            note = ""
            leave = _agree(accelerator, interrupt.signum, now=step % cfg.log_every == 0)
            last_step = step == cfg.steps
            writes_log = leave or last_step or step % cfg.log_every == 0
            evaluates = last_step or step % cfg.eval_every == 0
            draws = last_step or step % cfg.sample_every == 0
            saves = leave or last_step or step % cfg.save_every == 0
            if writes_log or evaluates or saves:
                _stop_if_broken(accelerator, watch, last)
                if log:
                    log.check_place()
            if writes_log:
                row = (
                    meter.flush(accelerator)
                    | {name: float(norm) for name, norm in norms.items()}
                    | {"lr": lr}
                )
                note = run_log.summary(row)
                if log:
                    log.write(step, "train", row)
            with meter.pause():
                if log and evaluates:
                    metrics = task.evaluate(state.result)
                    log.write(step, "validation", metrics)
                    for line in _judged(task, metrics):
                        progress.say(f"step {step} {line}")
                    if task.score(metrics) > state.best:
                        state.best = task.score(metrics)
                        state.save_best(best, config_yaml)
                if log and draws:
                    task.draw(state.result, run / "samples", step)
                if saves:
                    state.ceilings = watch.ceilings
                    state.save(last, config_yaml, main)
            progress.advance(note=note)
            if leave:
                raise Interrupted(f"saved after step {step}; go on with: dlp-dyn train --resume {run}", leave)
    accelerator.wait_for_everyone()
    return run


def resume(run: str | Path, overrides: Sequence[str] = (), sample: Draw = rsample) -> Path:
    """Go on with a run from its last checkpoint, with its own config and overrides on top (`steps=...`)."""
    run = Path(run)
    cfg = replace(config.read(run_log.settings(run), overrides), out=str(run))
    if cfg.reads_rollouts and cfg.data.path not in WRITERS and not Path(cfg.data.path).exists():
        raise InputError(f"{run}: its data is no more in {cfg.data.path}; say where with data.path=FILE")
    return train(cfg, resumed=True, sample=sample)


def _anchored(cfg: TrainConfig) -> TrainConfig:
    """Paths as they are from everywhere, so that the run can go on from another working folder."""
    image, texts = (
        cfg.image and folders.absolute(cfg.image),
        cfg.data.texts and folders.absolute(cfg.data.texts),
    )
    return replace(
        cfg, image=image, data=replace(cfg.data, path=folders.absolute(cfg.data.path), texts=texts)
    )


def _accelerator(cfg: TrainConfig) -> Accelerator:
    if cfg.device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "config: device=cuda, but torch finds no CUDA device here; give device=cpu or device=auto"
        )
    # accelerate keeps its settings for the life of the process; another run in it may have others.
    forget_accelerator(processes=not torch.distributed.is_initialized())
    accelerator = Accelerator(
        cpu=cfg.device == "cpu" or not torch.cuda.is_available(),
        mixed_precision="no" if cfg.precision == "fp32" else cfg.precision,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)],
    )
    shares = accelerator.num_processes * cfg.accumulate
    if cfg.batch_size % shares:
        raise InputError(
            f"config: batch_size is {cfg.batch_size}, to be shared by {accelerator.num_processes} processes times "
            f"accumulate={cfg.accumulate}; give a multiple of {shares}"
        )
    if accelerator.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    return accelerator


def _objective(cfg: TrainConfig, device: torch.device, sample: Draw, found: Inspection | None) -> Objective:
    set_seed(cfg.seed)
    model = setup.build_model(cfg, found).to(device)
    if device.type == "cuda":
        model.to(memory_format=torch.channels_last)
    return setup.build_objective(cfg, model, sample)


def _new_state(cfg: TrainConfig, objective: Objective) -> TrainingState:
    model, updates = objective.model, objective.updates()
    assert isinstance(model, SharedModel)
    average = copy.deepcopy(model).requires_grad_(False) if cfg.optimizer.ema_decay else None
    state = objective.state()
    return TrainingState(model, updates, optimizers(cfg, updates), average, objective=state)


def _loader(cfg: TrainConfig, task: Task, first_step: int, accelerator: Accelerator) -> DataLoader[Any]:
    order = ClipOrder(
        len(task.clips), cfg.batch_size, cfg.seed, first_step, cfg.steps, cfg.accumulate, accelerator.process_index,
        accelerator.num_processes,
    )  # fmt: skip
    return DataLoader(
        task.clips,
        batch_sampler=order,
        collate_fn=task.collate,
        num_workers=cfg.data.workers,
        pin_memory=accelerator.device.type == "cuda",
        worker_init_fn=outlive_signals,
        # Its own: otherwise it draws from the global one, and a resumed run would see other noise.
        generator=torch.Generator().manual_seed(cfg.seed),
    )


def _notes_on_data(rollouts: Rollouts | None) -> list[str]:
    if rollouts is None or held_out(rollouts) != "train":
        return []
    return [f"{rollouts.path}: no validation part, evaluated on what it trains on; add episodes"]


def _judged(task: Task, metrics: dict[str, float]) -> list[str]:
    """What an evaluation showed, and what is wrong with it."""
    shown = "held out: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    return [shown, *(f"warning: {warning}" for warning in task.warnings(metrics))]


def _next(batches: Iterator[Any]) -> Any:
    try:
        return next(batches)
    except InputError as error:  # that of a worker process comes with its traceback around it
        raise InputError(str(error).strip().splitlines()[-1].rpartition("InputError: ")[2]) from None


def _agree(accelerator: Accelerator, signum: int, now: bool) -> int:
    """The signal that any process got. Several processes ask each other only now and then, since it costs time."""
    if accelerator.num_processes == 1:
        return signum
    if not now:
        return 0
    return int(_gather(accelerator, torch.tensor([signum], device=accelerator.device)).max())


def _stop_if_broken(accelerator: Accelerator, watch: DivergenceWatch, last: Path) -> None:
    first = watch.first
    if accelerator.num_processes > 1:
        first = _gather(accelerator, first[None]).amin(0)
    if broken := watch.broken(first):
        raise InputError(
            f"{broken}; last good checkpoint: {last}; try a lower lr, a longer optimizer.warm_up_steps or max_grad_norm"
        )


def _gather(accelerator: Accelerator, x: Tensor) -> Tensor:
    gathered = accelerator.gather(x)
    assert isinstance(gathered, Tensor)
    return gathered
