"""Laws of the searches: they find known optima, keep bounds, and treat every problem as if it were alone."""

import pytest
import torch
from torch import Tensor
from toys import generators

from dlp_dyn.planning.actions import ActionSpace, noise
from dlp_dyn.planning.solvers import CEM, ICEM, MPPI, Categorical, Gradient, Solver

BOX = ActionSpace(torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 2.0]), block=2)
CONTINUOUS = (CEM(), ICEM(), MPPI(), Gradient(iterations=100))
OPTIMUM = torch.linspace(-0.9, 0.8, 3 * 5 * 4).view(3, 5, 4)


def bowl(candidates: Tensor) -> Tensor:
    return (candidates - OPTIMUM[: len(candidates), None]).square().sum((-1, -2))


@pytest.mark.parametrize("solver", CONTINUOUS, ids=lambda s: type(s).__name__)
def test_the_bottom_of_a_bowl_is_found(solver: Solver) -> None:
    start = torch.zeros(3, 5, 4)
    plan = solver.solve(bowl, start, BOX, generators(3))
    assert (plan.cost < 0.06 * bowl(start[:, None])[:, 0]).all()
    torch.testing.assert_close(plan.cost, bowl(plan.actions[:, None])[:, 0])


@pytest.mark.parametrize("solver", CONTINUOUS, ids=lambda s: type(s).__name__)
def test_an_optimum_outside_the_bounds_is_met_at_the_bounds(solver: Solver) -> None:
    plan = solver.solve(lambda a: (a - 5).square().sum((-1, -2)), torch.zeros(1, 2, 4), BOX, generators(1))
    low, high = BOX.bounds
    assert (plan.actions <= high).all()
    assert (plan.actions >= low).all()
    torch.testing.assert_close(plan.actions, high.expand(1, 2, 4), atol=0.05, rtol=0)


@pytest.mark.parametrize("solver", CONTINUOUS, ids=lambda s: type(s).__name__)
def test_what_is_known_never_gets_worse_and_a_good_guess_is_kept(solver: Solver) -> None:
    plan = solver.solve(bowl, OPTIMUM, BOX, generators(3))
    assert (plan.history.diff(dim=1) <= 0).all()
    torch.testing.assert_close(plan.actions, OPTIMUM)


@pytest.mark.parametrize("solver", CONTINUOUS, ids=lambda s: type(s).__name__)
def test_a_problem_is_solved_as_if_it_were_alone(solver: Solver) -> None:
    together = solver.solve(bowl, torch.zeros(3, 5, 4), BOX, generators(3))

    def second(candidates: Tensor) -> Tensor:
        return (candidates - OPTIMUM[1]).square().sum((-1, -2))

    alone = solver.solve(second, torch.zeros(1, 5, 4), BOX, generators(3)[1:2])
    assert torch.equal(together.actions[1], alone.actions[0])


def test_two_valleys_the_deeper_one_is_found() -> None:
    def valleys(a: Tensor) -> Tensor:
        x = a[..., 0, 0]
        return torch.minimum((x + 0.8).square(), 0.01 + (x - 0.3).square())

    box = ActionSpace(torch.tensor([-1.0]), torch.tensor([1.0]))
    for solver in CONTINUOUS:
        plan = solver.solve(valleys, torch.full((1, 1, 1), 0.3), box, generators(1))
        assert abs(plan.actions.item() + 0.8) < 0.05, solver


def test_mppi_knows_neither_unit_nor_origin_of_a_cost() -> None:
    plans = [
        MPPI().solve(lambda a, f=f, c=c: f * bowl(a) + c, torch.zeros(3, 5, 4), BOX, generators(3))
        for f, c in ((1.0, 0.0), (4.0, 8.0))
    ]
    torch.testing.assert_close(plans[0].actions, plans[1].actions, atol=0.05, rtol=0)


def test_the_best_choices_are_found() -> None:
    space = ActionSpace(torch.zeros(4), torch.ones(4), block=2, choices=True)
    wanted = torch.tensor([[0, 3, 1, 1, 2, 0], [2, 2, 3, 0, 1, 3]])
    one_hot = torch.nn.functional.one_hot(wanted, 4).float().view(2, 3, 8)

    def wrong(candidates: Tensor) -> Tensor:
        return (candidates - one_hot[:, None]).abs().sum((-1, -2))

    plan = Categorical().solve(wrong, torch.zeros(2, 3, 8), space, generators(2))
    assert torch.equal(plan.actions, one_hot)


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("length", [1, 2, 7, 10])
def test_coloured_noise_has_variance_1_and_drifts(colour: float, length: int) -> None:
    drawn = noise(generators(2), (4000, length, 2), colour)
    assert drawn.shape == (2, 4000, length, 2)
    torch.testing.assert_close(drawn.square().mean().sqrt(), torch.tensor(1.0), atol=0.03, rtol=0)
    if length > 2:
        neighbours = (drawn[:, :, 1:] * drawn[:, :, :-1]).mean()
        assert abs(neighbours) < 0.05 if colour == 0 else neighbours > 0.3


def test_blocks_hold_single_actions_in_order() -> None:
    space = ActionSpace(torch.tensor([-1.0, -2.0]), torch.tensor([1.0, 2.0]), block=3)
    assert space.width == 6
    assert space.single(torch.arange(6.0)).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert space.clip(torch.full((6,), 9.0)).tolist() == [1, 2, 1, 2, 1, 2]
