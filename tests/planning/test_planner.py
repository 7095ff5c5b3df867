"""Plans in a world whose dynamics are known: they arrive, keep away, and do not put off."""

from dataclasses import replace

import pytest
import torch
from toys import STEP, Steered, generators, scene

from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.costs import OverTime, length
from dlp_dyn.planning.goals import KeepAway, Places
from dlp_dyn.planning.planner import Planner
from dlp_dyn.planning.shooting import Predictor
from dlp_dyn.planning.solvers import CEM, ICEM, MPPI, Gradient, Solver

SPACE = ActionSpace(-torch.ones(2), torch.ones(2), block=2)
START = torch.tensor([[[-0.6, 0.0], [0.0, 0.0]], [[0.5, 0.5], [0.9, -0.9]]])
SOLVERS = (CEM(samples=150), ICEM(samples=150), MPPI(samples=150), Gradient())


def context(position: torch.Tensor = START) -> Context:
    return Context.of(scene(position[:, None]), None)


def planner(solver: Solver, over: OverTime = "running") -> Planner:
    return Planner(Predictor(Steered()), SPACE, solver, horizon=4, over=over)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_a_particle_is_brought_to_its_place(solver: Solver) -> None:
    now, plans = context(), planner(solver)
    plan = plans.plan(now, [Places({0: (0.1, -0.5)}).bind(now)], generators(2))
    end = plans.imagine(now, plan.actions).particles.position[:, -1, 0]
    assert (length(end - torch.tensor([0.1, -0.5])) < 0.05).all()


def test_the_imagined_way_is_the_sum_of_the_actions() -> None:
    now, plans = context(), planner(CEM())
    actions = torch.randn(2, 4, 4, generator=generators(1)[0]).clamp(-1, 1)
    way = plans.imagine(now, actions).particles.position[:, :, 0]
    moved = STEP * SPACE.single(actions).sum(-2).cumsum(1)
    torch.testing.assert_close(way, START[:, :1] + moved)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_distances_are_kept_on_the_way(solver: Solver) -> None:
    now = context(START[:1])
    slow = replace(
        planner(solver), space=replace(SPACE, block=1), horizon=10
    )  # the straight way leads through
    goals = (Places({0: (0.6, 0.0)}), KeepAway(0, 1, radius=0.3))
    plan = slow.plan(now, [goal.bind(now) for goal in goals], generators(1))
    way = slow.imagine(now, plan.actions).particles.position[0]
    assert (length(way[:, 0] - way[:, 1]) > 0.28).all()
    if not isinstance(solver, Gradient):  # which goes downhill, and what it walks around is a hill
        assert length(way[-1, 0] - torch.tensor([0.6, 0.0])) < 0.2


@pytest.mark.parametrize("over", ["running", "last", "least"])
def test_replanning_arrives(over: OverTime) -> None:
    plans = planner(ICEM(samples=100, iterations=4), over)
    position, start, rng = START, None, generators(2)
    for _ in range(6):
        now = context(position)
        plan = plans.plan(now, [Places({0: (-0.4, 0.4)}).bind(now)], rng, start)
        position = plans.imagine(now, plan.actions).particles.position[:, 0]
        start = torch.cat([plan.actions[:, 1:], plans.idle(2)[:, :1]], 1)
    far = length(position[:, 0] - torch.tensor([-0.4, 0.4]))
    assert (far < (0.08 if over == "running" else 0.6)).all()


def test_random_futures_are_the_same_for_all_candidates() -> None:
    now = context()
    predictor = Predictor(Steered(noise=0.1), samples=3)
    actions = torch.zeros(2, 5, 4, 4)
    position = predictor(now, actions).particles.position.unflatten(1, (5, 3))
    assert torch.equal(position, position[:, :1].expand_as(position))
    assert position[0, 0].std(0).min() > 0
    assert torch.equal(position, predictor(now, actions).particles.position.unflatten(1, (5, 3)))
    mean = Predictor(Steered(noise=0.1))(now, actions)
    many = Predictor(Steered(noise=0.1), samples=400)(now, actions[:, :1])
    torch.testing.assert_close(
        many.particles.position.mean(1), mean.particles.position[:, 0], atol=0.05, rtol=0
    )


def test_pieces_of_candidates_are_the_whole() -> None:
    now = context()
    actions = torch.randn(2, 9, 4, 4)
    whole, pieces = (Predictor(Steered(), rows=rows)(now, actions) for rows in (1000, 4))
    torch.testing.assert_close(list(whole), list(pieces))


def test_gradients_reach_the_actions() -> None:
    now = context()
    actions = torch.zeros(2, 1, 4, 4, requires_grad=True)
    Predictor(Steered())(now, actions).particles.position[:, :, -1, 0, 0].sum().backward()
    assert actions.grad is not None
    torch.testing.assert_close(actions.grad[..., ::2], torch.full((2, 1, 4, 2), STEP))
    assert actions.grad[..., 1::2].abs().max() == 0
