"""Agents that learn from data: what is sampled, what is minimised, and the way through the real commands."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from agents import checkpoint, environments, evaluate, train
from agents.config import AgentConfig, FlowConfig
from agents.networks import EntityConfig
from agents.offline import data
from agents.offline.data import Demonstrations, Steps
from agents.offline.learner import OfflineLearner
from agents.offline.objectives import BehaviourCloning, FlowMatching, ImplicitQ
from agents.offline.policies import Cloned, DataPolicy, Flow, Valued, entity_reader
from dlp_dyn.data.collect import collect
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.objectives.base import Objective
from dlp_dyn.training.step import TrainingStep

Push = Callable[..., AgentConfig]
NETWORK = EntityConfig(dim=16, n_heads=2, hidden=(32,), head=(32,))
ACTIONS = gym.spaces.Box(-1, 1, (2,), np.float32)
SETS = gym.spaces.Box(-np.inf, np.inf, (1, 2), np.float32)
SPACE = gym.spaces.Dict({"observation": SETS, "desired_goal": SETS})
KINDS = ["bc", "iql", "flow"]


def collected(path: Path, side: int) -> Path:
    collect(
        "envs:Push-v0", path, episodes=8, max_steps=6, image_size=None, policy="envs.policies:ScriptedPusher",
        env_kwargs={"pixels": True, "image_size": side, "reward": "sparse"},
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collected(tmp_path_factory.mktemp("demonstrations") / "push.h5", 32)


@pytest.fixture(scope="session")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With pictures that convolutions can read."""
    return collected(tmp_path_factory.mktemp("larger") / "push.h5", 40)


def flow(**settings: int) -> Flow:
    return Flow(entity_reader(NETWORK, SPACE), NETWORK.head, FlowConfig(**settings), ACTIONS)


@pytest.fixture
def shown(push: Push, file: Path) -> tuple[Demonstrations, environments.AgentEnv]:
    cfg = push("algorithm.kind=bc", f"data.path={file}", kind="state")
    env = environments.make(cfg, 1)
    return data.read(cfg, env, None), env


def test_goals_are_later_rows_or_those_of_the_episode(shown: tuple[Demonstrations, Any]) -> None:
    demonstrations, env = shown
    assert demonstrations.reachable is not None
    assert demonstrations.goals is not None
    rng = np.random.default_rng(0)
    steps = demonstrations.sample(rng, env, 400, her=0.5)
    assert steps.goal is not None
    own = later = 0
    for seen, goal, reward, done in zip(steps.observation, steps.goal, steps.reward, steps.done, strict=True):
        (here,) = np.flatnonzero((demonstrations.observations == seen.numpy()).all((1, 2)))[:1]
        last = demonstrations.last[here]
        ahead = demonstrations.reachable[here + 1 : last + 1]
        is_own = (demonstrations.goals[here] == goal.numpy()).all()
        own, later = own + is_own, later + (ahead == goal.numpy()).all((1, 2)).any()
        expected = env.compute_reward(demonstrations.reachable[here + 1][None], goal.numpy()[None])[0]
        assert reward == expected
        assert done == (expected >= 0)
    assert own + later >= 400
    assert steps.led.all()
    far = demonstrations.sample(rng, env, 400, her=0.5, other=0.3)
    assert 0.2 < 1 - far.led.float().mean() < 0.4
    assert 0.4 < own / 400 < 0.6
    assert all(
        (demonstrations.sample(rng, env, 50, her=1.0).goal != torch.as_tensor(demonstrations.goals[0])).any()
        for _ in range(3)
    )


def test_blocks_are_the_actions_that_follow_and_end_with_the_episode(
    shown: tuple[Demonstrations, Any],
) -> None:
    demonstrations, env = shown
    steps = demonstrations.sample(np.random.default_rng(0), env, 300, block=4, her=1.0)
    for seen, actions, inside in zip(steps.observation, steps.actions, steps.inside, strict=True):
        (here,) = np.flatnonzero((demonstrations.observations == seen.numpy()).all((1, 2)))[:1]
        left = min(4, demonstrations.last[here] - here)
        assert inside.tolist() == [True] * left + [False] * (4 - left)
        np.testing.assert_array_equal(actions[:left], demonstrations.actions[here : here + left])


def walkers(n: int = 200, block: int = 1) -> Steps:
    """A point that walks straight to its goal."""
    rng = torch.Generator().manual_seed(0)
    place, goal = (2 * torch.rand(n, 1, 2, generator=rng) - 1 for _ in range(2))
    action = (goal - place).clamp(-0.5, 0.5).transpose(1, 1)
    return Steps(
        place, goal, action.expand(-1, block, -1), torch.ones(n, block, dtype=torch.bool), place + action,
        torch.full((n,), -1.0), torch.zeros(n), torch.ones(n, dtype=torch.bool),
    )  # fmt: skip


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_learns_what_was_shown(kind: str) -> None:
    torch.manual_seed(0)
    steps = walkers(block=3 if kind == "flow" else 1)
    model: DataPolicy
    objective: Objective
    if kind == "flow":
        model = flow(block=3, steps=4)
        objective = FlowMatching(model)
    elif kind == "iql":
        model = Valued(NETWORK, SPACE, ACTIONS)
        objective = ImplicitQ(model, expectile=0.7, temperature=1.0, gamma=0.9, tau=0.05)
    else:
        model = Cloned(entity_reader(NETWORK, SPACE), NETWORK.head, ACTIONS)
        objective = BehaviourCloning(model)
    optimizers = {u.name: torch.optim.Adam(u.parameters, lr=3e-3) for u in objective.updates()}
    update = TrainingStep(objective, optimizers)
    for _ in range(150):
        update([steps], objective.weights(objective.Weights()))
    assert steps.goal is not None
    played, _ = model.predict({"observation": steps.observation.numpy(), "desired_goal": steps.goal.numpy()})
    error = np.abs(played - steps.actions[:, 0].numpy()).mean()
    assert error < 0.35 * steps.actions[:, 0].abs().mean()


def test_a_flow_goes_straight_to_an_end_that_stays() -> None:
    """With the middle of the way where a straight line has it."""
    model = flow(block=2, steps=5)
    end, seen_at = torch.tensor([0.3, -0.2, 9.0, 9.0]), []

    def fixed(read: torch.Tensor, block: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        seen_at.append((time[0], block[0]))
        return end.expand(len(read), -1)

    model.end = fixed  # type: ignore[method-assign]
    assert_close(model.act(torch.zeros(3, 1, 2), torch.zeros(3, 1, 2)), end[:2].expand(3, 2))
    for time, block in seen_at:
        assert_close(block, time * end)
    assert [round(float(time), 6) for time, _ in seen_at] == [0, 0.2, 0.4, 0.6, 0.8]


def test_a_flow_passes_on_what_is_best_of_independent_actions_of_one_spread() -> None:
    """Regression of such actions on what is between them and noise; the rest is the perceptron's to add."""
    torch.manual_seed(0)
    model = flow(block=1)
    last = [layer for layer in model.head if isinstance(layer, torch.nn.Linear)][-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    n, read = 200_000, torch.zeros(1, NETWORK.dim)
    played, noise = Flow.SPREAD * torch.randn(n, dtype=torch.double), torch.randn(n, dtype=torch.double)
    for time in (0.0, 0.3, 0.8, 1.0):
        unfinished = (1 - time) * noise + time * played
        best = (played @ unfinished / unfinished.square().sum()).float()
        found = model.end(read, torch.ones(1, 2), torch.tensor([time]))
        assert_close(found, best.expand(1, 2), atol=0.01, rtol=0)
    torch.nn.init.ones_(last.bias)
    assert_close(model.end(read, torch.ones(1, 2), torch.ones(1)), torch.ones(1, 2))  # the end stays


def test_flow_matching_ignores_what_comes_after_an_episode() -> None:
    torch.manual_seed(0)
    objective = FlowMatching(flow(block=3))
    steps = walkers(5, block=3)
    inside = steps.inside.clone()
    inside[:, 1:] = False
    cut = replace(steps, inside=inside)
    torch.manual_seed(1)
    found = objective(cut).terms["block"]
    torch.manual_seed(1)
    noise, time = torch.randn(5, 6), torch.rand(5)
    played = steps.actions.flatten(1)
    unfinished = (1 - time[:, None]) * noise + time[:, None] * played
    end = objective.model.end(objective.model.read(steps.observation, steps.goal), unfinished, time)
    assert_close(found, (end - played)[:, :2].square().mean(1))


@pytest.mark.usefixtures("unchecked")
def test_the_value_of_a_state_is_an_expectile() -> None:
    """Of the values 0 and 1, as often one as the other, the expectile is itself: e = t * (1 - e) / (...)."""
    torch.manual_seed(0)
    expectile = 0.9
    model = Valued(NETWORK, SPACE, ACTIONS)
    objective = ImplicitQ(model, expectile, temperature=1.0, gamma=0.9, tau=0.1)
    n = 40
    actions = torch.zeros(n, 1, 2)
    actions[n // 2 :, 0, 0] = 1
    zeros = torch.zeros(n, 1, 2)
    yes = torch.ones(n, 1, dtype=torch.bool)
    steps = Steps(zeros, zeros, actions, yes, zeros, actions[:, 0, 0], torch.ones(n), yes[:, 0])

    class Exact(torch.nn.Module):
        def forward(self, seen: torch.Tensor, goal: torch.Tensor, action: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
            return action[:, 0]

    model.slow_critic = torch.nn.ModuleList([Exact(), Exact()])
    update = TrainingStep(
        objective, {u.name: torch.optim.Adam(u.parameters, lr=1e-2) for u in objective.updates()}
    )
    for _ in range(150):
        update([steps], objective.weights(objective.Weights()))
    assert_close(model.value(zeros, zeros), torch.full((n,), expectile), atol=0.02, rtol=0)
    found = torch.stack([critic(zeros, zeros, actions[:, 0]) for critic in model.critic])
    assert_close(found, actions[:, 0, 0].expand(2, -1), atol=0.1, rtol=0)
    good = model.act(zeros, zeros)[0, 0]
    assert good > 0.5  # the better action weighs more


@pytest.mark.usefixtures("unchecked")
def test_the_policy_of_values_learns_from_goals_alone_that_its_actions_led_to() -> None:
    """Half of the walkers go the other way, to a goal of another episode: values see them, the policy does not."""
    torch.manual_seed(0)
    objective = ImplicitQ(Valued(NETWORK, SPACE, ACTIONS), 0.9, 1.0, 0.9, tau=0.1)
    steps, led = walkers(40), torch.arange(40) < 20
    other = torch.where(led[:, None, None], steps.actions, -steps.actions)
    one = objective(replace(steps, actions=other, led=led), "policy")
    weight = one.terms["action"]
    assert (weight[20:] == 0).all()
    alone = objective(replace(steps, led=torch.ones(40, dtype=torch.bool)), "policy").terms["action"]
    assert_close(weight[:20], 2 * alone[:20])  # the mean over the batch is that over those that count
    assert (objective(replace(steps, led=led), "value").terms["value"] > 0).all()


def test_slow_critics_follow() -> None:
    objective = ImplicitQ(Valued(NETWORK, SPACE, ACTIONS), 0.9, 1.0, 0.9, tau=0.25)
    with torch.no_grad():
        for parameter in objective.model.critic.parameters():
            parameter += 1
    before = [p.clone() for p in objective.model.slow_critic.parameters()]
    objective.follow()
    for slow, old in zip(objective.model.slow_critic.parameters(), before, strict=True):
        assert_close(slow.detach(), old + 0.25)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("sees", "kind"),
    [
        *((sees, kind) for sees in ("state", "particles") for kind in KINDS),
        ("pixels", "bc"),
        ("pixels", "flow"),
    ],
)
def test_an_agent_from_data_is_trained_resumed_and_measured(
    push: Push,
    file: Path,
    larger: Path,
    tmp_path: Path,
    kind: str,
    sees: str,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = larger if sees == "pixels" else file
    words = [
        f"algorithm.kind={kind}",
        f"data.path={file}",
        "eval_every=1000",
        "save_every=1000",
        "log_every=2",
    ]
    whole = train.train(push(*words, "steps=6", f"out={tmp_path / 'whole'}", kind=sees))
    monkeypatch.chdir(file.parent)
    words[1] = f"data.path={file.name}"  # and go on from another folder
    left = train.train(push(*words, "steps=3", f"out={tmp_path / 'left'}", kind=sees))
    assert "steps of 6 episodes" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert train.main(["--resume", str(left), "steps=6"]) == 0
    expected = checkpoint.read_weights(checkpoint.find(whole, "last"))
    for name, x in checkpoint.read_weights(checkpoint.find(left, "last")).items():
        assert torch.equal(x, expected[name]), name
    more = ["--set", "n_objects=2"] if sees == "state" else []
    capsys.readouterr()
    assert evaluate.main([str(whole), "--episodes", "3", "--json", *more]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["episodes"] == 3


def test_an_agent_of_pictures_learns_from_those_that_it_will_see(push: Push, larger: Path) -> None:
    cfg = push("algorithm.kind=bc", f"data.path={larger}", kind="pixels")
    env = environments.make(cfg, 1)
    shown = data.read(cfg, env, None)
    first, file = env.reset(), Rollouts(larger)
    assert isinstance(first, dict)
    assert shown.observations.shape[1:] == first["observation"].shape[1:] == (3, 40, 40)
    rows = file.episode_starts[file.part("train")]
    np.testing.assert_array_equal(shown.observations[0].transpose(1, 2, 0), file.frames(rows)[0])
    steps = shown.sample(np.random.default_rng(0), env, 5, her=1.0)
    assert steps.goal is not None
    model = OfflineLearner.build(cfg, None).model
    brighter = model.act(steps.observation, steps.goal // 2)
    assert not torch.allclose(model.act(steps.observation, steps.goal), brighter)  # goals are looked at


def test_data_that_does_not_fit_is_one_line(push: Push, file: Path, tmp_path: Path) -> None:
    bare, other = tmp_path / "bare.h5", tmp_path / "other.h5"
    bare.write_bytes(file.read_bytes())
    with h5py.File(bare, "a") as h5:
        del h5["actions"]
    collect("envs:Push-v0", other, episodes=3, max_steps=4, env_kwargs={"n_objects": 2})
    for words, message in (
        (["data.path=null"], "add data.path=FILE"),
        ([f"data.path={tmp_path / 'nothing.h5'}"], "no such file"),
        ([f"data.path={bare}"], "no actions, which an agent learns from"),
        ([f"data.path={other}"], "give rollouts of this environment, or its settings"),
        ([f"data.path={file}", "network.kind=flat"], "give network.kind=entity"),
        (
            ["algorithm.kind=iql", f"data.path={file}", "observation.kind=pixels", "network.kind=cnn"],
            "give network.kind=entity",
        ),
        (
            [
                f"data.path={file}",
                "observation.kind=pixels",
                "network.kind=cnn",
                "env.settings.image_size=40",
            ],
            "give rollouts of this environment, or its settings",
        ),
        ([f"data.path={file}", "algorithm.iql.expectile=1.5"], "expectile is 1.5"),
        ([f"data.path={file}", "algorithm.flow.block=0"], "block is 0"),
    ):
        with pytest.raises(InputError, match=message) as error:
            train.train(push("algorithm.kind=bc", *words, kind="state"))
        assert "\n" not in str(error.value)
