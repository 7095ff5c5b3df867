"""Through the real `train`: determinism, exact resume, and what every step is made of."""

import json
import math
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dlp_dyn
from dlp_dyn import checkpoint, config, settings
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.balls import write_balls
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import PARTS, RolloutWriter
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation import images as evaluate
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.base import Losses
from dlp_dyn.objectives.config import ImageWeights
from dlp_dyn.objectives.image_elbo import ImageElbo
from dlp_dyn.training.interrupt import Interrupted, interrupts
from dlp_dyn.training.loop import resume, train

Tiny = Callable[..., TrainConfig]


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def last_weights(run: Path) -> dict[str, Tensor]:
    return checkpoint.load_weights(run / "checkpoints" / "last")


def assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch, signum: int = signal.SIGTERM) -> None:
    """A signal arrives while the update of that step is made."""
    real = torch.optim.AdamW.step
    taken = 0

    def stepping(self: torch.optim.AdamW, *args: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken == step:
            signal.raise_signal(signum)
        return real(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", stepping)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("settings", [{}, {"optimizer__ema_decay": 0.9, "accumulate": 2, "data__workers": 1}])
def test_resume_is_exact_to_the_bit(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    settings |= {"optimizer__schedule": "cosine", "optimizer__warm_up_steps": 2}
    whole = train(tiny(out=tmp_path / "whole", **settings))
    with monkeypatch.context() as patch:
        stop_at(4, patch)
        with pytest.raises(
            Interrupted, match=r"saved after step 4; go on with: dlp-dyn train --resume"
        ) as caught:
            train(tiny(out=tmp_path / "halves", **settings))
    assert caught.value.signum == signal.SIGTERM
    halves = tmp_path / "halves"
    assert checkpoint.load_training_state(halves / "checkpoints" / "last")["step"] == 4
    torch.rand(3)  # whatever else the process does
    assert resume(halves) == halves

    assert_equal(last_weights(whole), last_weights(halves))
    timed = ("train/batches_per_second", "train/waiting_for_data")
    for a, b in zip(rows(whole), rows(halves), strict=True):
        assert {k: v for k, v in a.items() if k not in timed} == {
            k: v for k, v in b.items() if k not in timed
        }
    states = [checkpoint.load_training_state(run / "checkpoints" / "last") for run in (whole, halves)]
    assert states[0]["best"] == states[1]["best"]
    assert torch.equal(states[0]["random"][0]["torch"], states[1]["random"][0]["torch"])


def test_a_seed_decides_everything(tiny: Tiny, tmp_path: Path) -> None:
    seeds = {"a": 1, "b": 1, "c": 2}
    a, b, c = (train(tiny(out=tmp_path / name, steps=2, seed=seed)) for name, seed in seeds.items())
    assert_equal(last_weights(a), last_weights(b))
    assert any(not torch.equal(x, last_weights(c)[name]) for name, x in last_weights(a).items())


def test_rows_after_the_checkpoint_are_done_again(tiny: Tiny) -> None:
    run = train(tiny(steps=3))
    with (run / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 4, "train/loss": 1.0}\n{"step": 5, "trai')  # killed after its last checkpoint
    resume(run, ["steps=5"])
    assert [row["step"] for row in rows(run)] == [1, 2, 3, 3, 4, 5, 5]
    assert config.read(run / "config.yaml").steps == 5


def test_the_run_folder_holds_what_it_should(tiny: Tiny) -> None:
    run = train(tiny(sample_every=3, optimizer__max_grad_norm=1.0))
    names = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    state = {f"checkpoints/last/{name}" for name in ("model.safetensors", "config.yaml", "training_state.pt")}
    best = {f"checkpoints/best/{name}" for name in ("model.safetensors", "config.yaml")}
    pictures = {"samples/step_0000003.png", "samples/step_0000006.png"}
    assert names >= {"config.yaml", "metrics.jsonl", "environment.json"} | state | best | pictures
    assert sum("tfevents" in name for name in names) == 1
    environment = json.loads((run / "environment.json").read_text())
    assert torch.__version__.startswith(environment["versions"]["torch"])
    assert environment["device"] == "cpu"
    train_row = next(row for row in rows(run) if "train/loss" in row)
    weights, terms = tiny().weights, [field.name for field in fields(ImageWeights)]
    total = sum(getattr(weights, k) * train_row[f"train/loss/{k}"] for k in terms)
    assert train_row["train/loss"] == pytest.approx(total, rel=1e-4)
    assert train_row.keys() >= {"train/lr", "train/grad_norm", "train/metric/psnr", "train/waiting_for_data"}
    held_out = [row["validation/psnr"] for row in rows(run) if "validation/psnr" in row]
    state_best = checkpoint.load_training_state(run / "checkpoints" / "last")["best"]
    assert state_best == max(held_out)
    assert checkpoint.load_model(run).cfg == tiny().model


@pytest.fixture(scope="session")
def balls64(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "balls64.h5"
    write_balls(path, (3, 1, 1), 24)
    return path


@pytest.fixture(scope="session")
def image_run(balls64: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an image model, for configs that train dynamics on one."""
    out = tmp_path_factory.mktemp("runs") / "image"
    settings = [
        f"data.path={balls64}",
        f"out={out}",
        "device=cpu",
        "steps=1",
        "batch_size=2",
        "eval_frames=2",
    ]
    return train(config.load("balls", settings))


def with_actions(source: Path, path: Path, width: int) -> Path:
    """A copy of a rollout file whose steps have random actions."""
    rollouts, rng = Rollouts(source), np.random.default_rng(0)
    with RolloutWriter(path) as writer:
        for number in range(rollouts.n_episodes):
            episode = rollouts.episode(number)
            actions = rng.normal(size=(len(episode), width)).astype(np.float32)
            writer.append(replace(episode, actions=actions), PARTS[rollouts.episode_parts[number]])
    return path


@pytest.mark.parametrize("name", settings.names())
def test_every_config_trains_three_steps(
    name: str, balls_file: Path, balls64: Path, image_run: Path, tmp_path: Path
) -> None:
    overrides = [
        f"out={tmp_path / 'run'}",
        "device=cpu",
        "steps=3",
        "batch_size=2",
        "eval_frames=2",
        "log_every=1",
    ]
    cfg = config.load(name, ["data.path=unknown", *overrides])
    data = balls_file if cfg.frame_size == 32 else balls64
    if cfg.frame_size > 64:
        data = tmp_path / "large.h5"
        write_balls(data, (2, 1, 1), 2, image_size=cfg.frame_size)
    if cfg.keypoint_vae is not None:  # nothing is downloaded
        cfg = replace(cfg, keypoint_vae=replace(cfg.keypoint_vae, reconstruction="mse"))
    if cfg.generation is not None:
        folder = shutil.copytree(Path(dlp_dyn.__file__).parent / "bundled" / "balls", tmp_path / "video")
        cfg = replace(cfg, image=str(folder))
    if cfg.dynamics.action_dim:
        data = with_actions(data, tmp_path / "actions.h5", cfg.dynamics.action_dim)
    latent = cfg.dynamics.latent_actions
    if latent.dim > 256:  # many layers all alike: a minute a step
        small = replace(latent, dim=64, context_layers=1, dynamics_layers=1)
        dynamics = replace(cfg.dynamics, window=3, latent_actions=small)
        cfg = replace(cfg, dynamics=dynamics, data=replace(cfg.data, clip_length=4))
    if not cfg.reads_rollouts:
        data = Path(config.load(name).data.path)
    cfg = replace(cfg, data=replace(cfg.data, path=str(data), workers=0), accumulate=1)
    if cfg.stage == "dynamics" or cfg.introspection is not None:
        cfg = replace(cfg, image=str(image_run))
    if cfg.phases.warm_up_steps:  # one step of each phase
        cfg = replace(cfg, phases=replace(cfg.phases, warm_up_steps=1, noisy_steps=1))
    run = train(cfg)
    values = [v for row in rows(run) for v in row.values()]
    assert all(math.isfinite(v) for v in values)
    assert sum(path.stat().st_size for path in (run / "samples").iterdir()) > 10_000


def test_a_nan_stops_the_run_and_names_step_and_term(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = ImageElbo.losses, 0

    def broken(self: ImageElbo, *args: Any) -> Losses:
        nonlocal calls
        calls += 1
        terms, metrics = real(self, *args)
        if calls >= 5:
            terms["kl_scale"] = terms["kl_scale"] * float("nan")
        return Losses(terms, metrics)

    monkeypatch.setattr(ImageElbo, "losses", broken)
    cfg = tiny(steps=20, log_every=10, save_every=4, eval_every=20)
    with pytest.raises(InputError, match="training broke at step 5: kl_scale is nan;") as caught:
        train(cfg)
    last = Path(cfg.out) / "checkpoints" / "last"
    assert f"last good checkpoint: {last}" in str(caught.value)
    assert checkpoint.load_training_state(last)["step"] == 4
    assert all(weight.isfinite().all() for weight in checkpoint.load_weights(last).values())


def test_an_exploding_loss_stops_the_run(tiny: Tiny) -> None:
    with pytest.raises(InputError, match=r"training broke at step \d+: .*; last good checkpoint: .*last; "):
        train(tiny(steps=30, lr=1e4, log_every=30, save_every=30, eval_every=30))


def test_batch_size_has_to_be_shared_evenly(tiny: Tiny) -> None:
    with pytest.raises(InputError, match=r"batch_size is 4, .*; give a multiple of 3"):
        train(tiny(accumulate=3))


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where the tests run in the background and a shell turned it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_a_second_signal_acts_as_usual() -> None:
    with interrupts() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.signum == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_saves_before_leaving(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(2, monkeypatch, signal.SIGINT)
    cfg = tiny(save_every=100, log_every=100, eval_every=100)
    with pytest.raises(Interrupted) as caught:
        train(cfg)
    assert caught.value.signum == signal.SIGINT
    assert checkpoint.load_training_state(Path(cfg.out) / "checkpoints" / "last")["step"] == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_held_out_figures_leave_the_model_in_training_mode(tiny: Tiny, balls_file: Path) -> None:
    from dlp_dyn.data.rollouts import Rollouts

    model = DLP(tiny().model).train()
    figures = evaluate.evaluate_held_out(model, evaluate.spread_frames(Rollouts(balls_file), "validation", 3))
    assert model.training
    assert figures.keys() >= {"psnr", "recall", "particles_on"}


@pytest.mark.gpu
@pytest.mark.parametrize(
    "settings", [{}, {"precision": "bf16"}, {"optimizer__ema_decay": 0.9, "accumulate": 2}]
)
def test_training_runs_on_a_gpu_and_goes_on(tiny: Tiny, settings: dict[str, Any]) -> None:
    run = train(tiny(device="cuda", **settings))
    resume(run, ["steps=8"])
    assert rows(run)[-1]["step"] == 8
    assert all(math.isfinite(v) for row in rows(run) for v in row.values())
