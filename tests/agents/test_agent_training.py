"""Training of agents through the real commands: every kind, the same twice, resumed, interrupted, measured."""

import json
import os
import signal
import threading
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v3 as iio
import numpy as np
import pytest
import torch

from agents import checkpoint, environments, evaluate, older_checkpoints, train
from agents import config as agent_config
from agents.config import AgentConfig
from agents.online import OnlineLearner
from agents.replay import GoalReplayBuffer
from dlp_dyn.checkpoint import TRAINING_STATE
from dlp_dyn.errors import InputError
from dlp_dyn.training.interrupt import Interrupted

Push = Callable[..., AgentConfig]


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    return checkpoint.read_weights(checkpoint.find(run, which))


@pytest.mark.parametrize(
    ("kind", "overrides"),
    [
        ("particles", []),
        ("particles", ["network.kind=flat", "observation.track=true"]),
        ("state", ["algorithm.kind=sac", "warm_up.policy=random"]),
        ("state", ["network.kind=flat", "algorithm.kind=ppo", "algorithm.ppo.n_steps=16"]),
        ("pixels", ["algorithm.buffer_size=90"]),
    ],
)
def test_every_kind_is_trained_measured_and_filmed(
    push: Push, kind: str, overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train.train(push(*overrides, kind=kind))
    printed = capsys.readouterr().err
    assert "replay buffer:" in printed
    assert ("for 100,000 transitions" in printed) == ("algorithm.kind=ppo" not in overrides)
    groups = {key.split("/")[0] for row in rows(run) for key in row}
    assert groups == {"step", "train", "evaluation"}
    film = tmp_path / "film.gif"
    command = [str(run), "--episodes", "5", "--gif", str(film), "--gif-episodes", "1", "--json"]
    assert evaluate.main(command) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[0])
    assert figures["episodes"] == 5
    assert figures["success_low"] <= figures["success"] <= figures["success_high"]
    assert len(iio.imread(film)) > 2


@pytest.mark.usefixtures("unchecked")
def test_the_same_seed_trains_the_same_agent(push: Push, tmp_path: Path) -> None:
    a, b = (train.train(push(f"out={tmp_path / name}")) for name in "ab")
    for (name, x), y in zip(weights(a).items(), weights(b).values(), strict=True):
        assert torch.equal(x, y), name


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kind", "overrides"),
    [
        ("state", []),
        ("particles", ["observation.track=true", "network.kind=flat"]),
        ("pixels", ["algorithm.buffer_size=90"]),
        ("state", ["algorithm.kind=sac"]),
        ("state", ["network.kind=flat", "algorithm.kind=ppo", "algorithm.ppo.n_steps=10"]),
    ],
)
def test_a_run_that_was_left_goes_on_to_the_last_bit(
    push: Push, tmp_path: Path, kind: str, overrides: list[str], capsys: Any
) -> None:
    """In the middle of episodes of six steps of three environments."""
    whole = train.train(push(f"out={tmp_path / 'whole'}", "steps=120", *overrides, kind=kind))
    left = train.train(push(f"out={tmp_path / 'left'}", "steps=90", *overrides, kind=kind))
    assert checkpoint.find(left, "last").step == 90
    assert train.main(["--resume", str(left), "steps=120"]) == 0
    assert "going on after step 90 of 120" in capsys.readouterr().err
    for which in ("last", "best"):
        expected = weights(whole, which)
        for name, x in weights(left, which).items():
            assert torch.equal(x, expected[name]), (which, name)
    assert checkpoint.find(left).score == checkpoint.find(whole).score
    with np.load(left / "checkpoints/last/replay.npz") if "ppo" not in str(overrides) else nullcontext() as a:
        if a is not None:
            with np.load(whole / "checkpoints/last/replay.npz") as b:
                assert all(np.array_equal(a[name], b[name]) for name in b.files)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_before_it_leaves(push: Push, sent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = OnlineLearner.learn

    def interrupted(self: OnlineLearner) -> None:
        learn(self)
        if self.step == 90:
            os.kill(os.getpid(), sent)

    monkeypatch.setattr(OnlineLearner, "learn", interrupted)
    assert threading.current_thread() is threading.main_thread()
    cfg = push(kind="state")
    with pytest.raises(
        Interrupted, match=r"saved after step 90; go on with: python -m agents\.train"
    ) as caught:
        train.train(cfg)
    assert caught.value.signum == sent
    assert checkpoint.find(cfg.out, "last").step == 90


def test_a_run_renamed_while_it_trains_stops_and_goes_on_from_where_it_is(
    push: Push, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = OnlineLearner.learn

    def renamed(self: OnlineLearner) -> None:
        learn(self)
        if self.step == 90 and Path(self.cfg.out).exists():
            Path(self.cfg.out).rename(tmp_path / "renamed")

    monkeypatch.setattr(OnlineLearner, "learn", renamed)
    cfg = push(kind="state")
    with pytest.raises(InputError, match="was moved or removed"):
        train.train(cfg)
    assert not Path(cfg.out).exists()
    monkeypatch.undo()
    assert train.main(["--resume", str(tmp_path / "renamed")]) == 0


def test_an_agent_killed_in_its_warm_up_begins_it_anew(push: Push, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise MemoryError

    cfg = push(kind="state")
    with monkeypatch.context() as patched:
        patched.setattr(train, "warm_up", killed)
        with pytest.raises(MemoryError):
            train.train(cfg)
    assert train.main(["--resume", cfg.out]) == 0
    expected = weights(train.train(push(f"out={cfg.out}_whole", kind="state")))
    for name, x in weights(Path(cfg.out)).items():
        assert torch.equal(x, expected[name]), name


def test_an_agent_killed_while_it_wrote_its_first_checkpoint_leaves_a_folder_to_begin_in(push: Push) -> None:
    cfg = push("steps=60", kind="state")
    (Path(cfg.out) / "checkpoints" / "last.part").mkdir(parents=True)
    (Path(cfg.out) / "checkpoints" / "last.part" / "agent.safetensors").touch()
    assert train.main(["--resume", cfg.out]) == 2
    assert checkpoint.find(train.train(cfg), "last").step == 60


def test_a_training_state_of_noise_is_one_line(push: Push, capsys: Any) -> None:
    run = train.train(push("steps=60", kind="state"))
    for noise in (b"", b"I9\n.", b"\x80\x04.", bytes(range(256))):
        (run / "checkpoints" / "last" / TRAINING_STATE).write_bytes(noise)
        capsys.readouterr()
        assert train.main(["--resume", str(run), "steps=90"]) == 2
        assert "damaged or cut short" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.usefixtures("unchecked")
def test_chamfer_training_needs_no_states(push: Push, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its buffer keeps none, and rewards are those of what the agent sees."""
    kept: list[GoalReplayBuffer] = []
    sample = GoalReplayBuffer.sample

    def watched(self: GoalReplayBuffer, *args: Any, **kwargs: Any) -> Any:
        kept.append(self)
        return sample(self, *args, **kwargs)

    monkeypatch.setattr(GoalReplayBuffer, "sample", watched)
    loose = ["reward.foreground.still=0", "reward.foreground.agent=1", "reward.foreground_steps=200"]
    cfg = push(*loose, "reward.kind=chamfer")
    run = train.train(cfg)
    assert kept[0].achieved is None
    assert (run / "checkpoints" / "last" / "foreground.json").is_file()
    assert train.main(["--resume", str(run), "steps=150"]) == 0


def test_an_agent_of_states_plays_with_more_objects(push: Push, capsys: Any) -> None:
    run = train.train(push(kind="state"))
    command = [str(run), "--episodes", "3", "--set", "n_objects=3", "time_limit=4", "--json"]
    assert evaluate.main(command) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["settings"] == {
        "n_objects": 3,
        "time_limit": 4,
    }
    flat = train.train(push("out=" + str(run.parent / "flat"), "network.kind=flat", kind="state"))
    assert evaluate.main([str(flat), "--episodes", "3", "--set", "n_objects=3"]) == 2
    assert "its network is for other observations" in capsys.readouterr().err


def test_the_saved_agent_acts_alike_and_holds_no_encoder(push: Push) -> None:
    run = train.train(push())
    found = checkpoint.find(run, "last")
    encoder = found.load_encoder()
    env = environments.make(found.cfg, 3, encoder)
    env.seed(0)
    seen: Any = env.reset()
    policies: list[Any] = [checkpoint.load(found) for _ in range(2)]
    a, b = (policy.predict(seen, deterministic=True)[0] for policy in policies)
    np.testing.assert_array_equal(a, b)
    assert encoder is not None
    names = set(encoder.encoder.state_dict())
    stored = checkpoint.read_weights(found)
    assert not any(key.split(".", 2)[-1] in names for key in stored)
    assert sum(x.numel() for x in stored.values()) < 50_000  # networks and their targets


def test_another_encoder_is_refused_and_a_lost_one_is_named(
    push: Push, write_encoder: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    mine, other = write_encoder(tmp_path / "mine"), write_encoder(tmp_path / "other", seed=1)
    run = train.train(push(f"observation.encoder={mine}"))
    capsys.readouterr()

    def refused(*options: str) -> str:
        assert evaluate.main([str(run), "--episodes", "2", *options]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        return said[0]

    assert "another encoder" in refused("--encoder", str(other))
    moved = mine.rename(tmp_path / "moved")
    assert "no such run folder" in refused()
    assert "--encoder RUN says where it is now" in refused()
    assert evaluate.main([str(run), "--episodes", "2", "--encoder", str(moved)]) == 0
    capsys.readouterr()
    other.rename(mine)
    assert "another encoder" in refused()


def test_a_checkpoint_that_is_gone_or_damaged_is_one_line(push: Push, capsys: Any) -> None:
    run = train.train(push(kind="state"))
    agent = run / "checkpoints" / "best" / "agent.safetensors"
    found = checkpoint.find(run)
    whole = agent.read_bytes()
    agent.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged or cut short"):
        checkpoint.load(found)
    agent.unlink()
    with pytest.raises(InputError, match="no such file; use another checkpoint"):
        checkpoint.load(found)
    (agent.parent / "agent.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        checkpoint.find(run)
    capsys.readouterr()
    for arguments, message in (
        ([str(run / "nothing")], "no such run folder"),
        ([str(run / "checkpoints")], "holds no agent"),
        ([str(run), "--episodes", "0"], "give 1 or more"),
        ([str(run), "--gif", "x.avi"], "use one of"),
    ):
        assert evaluate.main(arguments) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1


def test_words_that_make_no_sense(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    state = ["push1", "observation.kind=state"]
    cartpole = tmp_path / "cartpole.yaml"
    cartpole.write_text("env:\n  id: CartPole-v1\nobservation:\n  kind: state\nnetwork:\n  kind: flat\n")
    for arguments, message in (
        ([], "no CONFIG"),
        (["push1", "--resume", "x"], "leave 'push1' out"),
        (["--resume", str(tmp_path)], "no checkpoints/last"),
        ([*state, f"out={tmp_path / 'taken'}"], "exists already"),
        ([*state, f"out={tmp_path / 'a'}", "env.settings.n_objects=9"], "n_objects 9"),
        ([str(cartpole), f"out={tmp_path / 'b'}"], "give algorithm.kind=ppo"),
        (["push1", f"out={tmp_path / 'c'}", "observation.encoder=nowhere/run"], "no such run folder"),
    ):
        assert train.main(arguments) == 2, arguments
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        assert message in said[0]


def test_the_bootstrap_interval_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(400) < 0.7
    low, high = evaluate.bootstrap(values.astype(float))
    error = np.sqrt(0.7 * 0.3 / 400)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.01)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.01)
    assert evaluate.bootstrap(np.ones(10)) == (1.0, 1.0)


def test_an_agent_of_an_earlier_version_is_told_and_its_weights_are_taken(push: Push, capsys: Any) -> None:
    """As they were written: SB3's zip, with a pickle that must not be loaded, and facts without a version."""
    run = train.train(push(kind="state"))
    found, kept = checkpoint.find(run), weights(run, "best")
    folder = found.folder
    (folder / "agent.safetensors").unlink()
    with zipfile.ZipFile(folder / "agent.zip", "w") as zipped:
        zipped.writestr("data", json.dumps({"policy_class": {":serialized:": "gASVb29vbw=="}}))
        with zipped.open("policy.pth", "w") as stream:
            torch.save(kept, stream)
    facts = json.loads((folder / "agent.json").read_text())
    old = {name: facts[name] for name in ("step", "encoder", "encoder_hash", "columns")} | {"score": 0.5}
    (folder / "agent.json").write_text(json.dumps(old))
    capsys.readouterr()

    def refused(code: int) -> str:
        said = capsys.readouterr().err.strip().splitlines()
        assert code == 2
        assert len(said) == 1
        return said[0]

    assert "--trust-zip makes" in refused(evaluate.main([str(run), "--episodes", "2"]))
    assert "holds a pickle" in refused(older_checkpoints.main([str(run)]))
    assert older_checkpoints.main([str(run), "--trust-zip"]) == 0
    assert "only its weights are taken" in capsys.readouterr().err
    assert all(torch.equal(x, kept[name]) for name, x in weights(run, "best").items())
    assert evaluate.main([str(run), "--episodes", "2"]) == 0


class Point(gym.Env[Any, Any]):
    """Goes where it is told; the reward is its place. Episodes of seven steps, without goals."""

    observation_space = gym.spaces.Dict({"place": gym.spaces.Box(-9, 9, (2,), np.float32)})
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed, options=options)
        self.steps, self.place = 0, self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return {"place": self.place.copy()}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.steps += 1
        self.place = (self.place + action / 10).clip(-9, 9).astype(np.float32)
        return {"place": self.place.copy()}, float(self.place[0]), False, self.steps == 7, {}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", ["sac", "td3"])
def test_without_goals_a_run_goes_on_to_the_last_bit_too(kind: str, tmp_path: Path) -> None:
    gym.register("Point-v0", entry_point=Point)  # pyright: ignore[reportArgumentType]
    (tmp_path / "point.yaml").write_text(
        "env: {id: Point-v0, n_envs: 2}\nobservation: {kind: state}\nnetwork: {kind: flat, flat: [8]}\n"
        f"algorithm: {{kind: {kind}, batch_size: 8, gradient_steps: 1, buffer_size: 60}}\n"
        "warm_up: {steps: 20}\neval_episodes: 2\neval_every: 1000\n"
    )

    def run(steps: int, name: str) -> Path:
        words = [f"steps={steps}", f"out={tmp_path / name}"]
        return train.train(agent_config.load(tmp_path / "point.yaml", words))

    expected, left = weights(run(120, "whole")), run(50, "left")
    assert train.main(["--resume", str(left), "steps=120"]) == 0
    for name, x in weights(left).items():
        assert torch.equal(x, expected[name]), name


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", ["state", "particles"])
def test_an_agent_begins_with_the_weights_of_one_of_fewer_objects(
    push: Push, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = train.train(push(f"out={tmp_path / 'one'}", "steps=90", "env.settings.n_objects=1", kind=kind))
    settings = [
        f"out={tmp_path / 'two'}",
        f"init={one}",
        "env.settings.n_objects=2",
        "seed=1",
        "algorithm.lr=1e-30",
    ]
    two = train.train(push(*settings, "steps=90", kind=kind))
    assert "begins with the weights of" in capsys.readouterr().err
    begun, now = weights(one, "best"), weights(two)
    assert all(torch.equal(x, now[name]) for name, x in begun.items() if "target" not in name)
    if kind == "particles":
        files = [checkpoint.find(run).folder / checkpoint.NORMALIZER for run in (one, two)]
        assert files[0].read_text() == files[1].read_text()
    with pytest.raises(InputError, match="its network is for other observations"):
        train.train(push(f"out={tmp_path / 'flat'}", f"init={one}", "network.kind=flat", kind=kind))
    with pytest.raises(InputError, match="no such run folder"):
        train.train(push(f"out={tmp_path / 'none'}", f"init={tmp_path / 'nothing'}", kind=kind))
