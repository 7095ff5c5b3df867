"""Laws of costs on particle sets, and of how goals find their particles."""

import pytest
import torch
from torch import Tensor
from toys import particles, scene

from dlp_dyn.errors import InputError
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.costs import Arrival, Intrusion, Prices, over_time
from dlp_dyn.planning.goals import GoalScene, KeepAway, Match, Places
from dlp_dyn.tree import tree_map

PLACES = torch.tensor([[-0.5, 0.0], [0.5, 0.2], [0.1, -0.7]])
NO_ACTIONS = torch.zeros(1, 1, 1, 2)


def context(position: Tensor = PLACES, on: Tensor | None = None, features: Tensor | None = None) -> Context:
    on = None if on is None else on[None, None]
    return Context.of(scene(position[None, None], features, on), None)


def moment(position: Tensor, features: Tensor | None = None, on: Tensor | None = None):
    """One predicted scene (B, S, H) = (1, 1, 1)."""
    return scene(position[None, None, None], features, None if on is None else on[None, None, None])


@pytest.mark.parametrize("match", ["now", "then", "nearest"])
def test_a_goal_that_is_reached_costs_nothing_and_all_else_something(match: Match) -> None:
    cost = GoalScene(particles(PLACES[None]), match).bind(context())
    assert cost(moment(PLACES), NO_ACTIONS).item() < 1e-5
    assert cost(moment(PLACES + 0.1), NO_ACTIONS).item() == pytest.approx(0.1 * 2**0.5 / 2, abs=1e-4)
    fading = cost(moment(PLACES, on=torch.tensor([1.0, 0.4, 1.0])), NO_ACTIONS)
    assert fading.item() > 0.1  # fading is no way out


@pytest.mark.parametrize("match", ["now", "then", "nearest"])
def test_the_order_of_the_goals_particles_does_not_count(match: Match) -> None:
    goal = particles(PLACES[None] + 0.3)
    shuffled = goal.map(lambda x: x[:, [2, 0, 1]])
    predicted = moment(PLACES + torch.tensor([0.1, -0.2]))
    a, b = (GoalScene(g, match).bind(context())(predicted, NO_ACTIONS) for g in (goal, shuffled))
    torch.testing.assert_close(a, b)


def test_the_order_of_the_predicted_particles_does_not_count_to_then_and_counts_to_now() -> None:
    alike = torch.zeros(1, 3, 4)
    goal = particles(PLACES[None], alike)
    order = torch.tensor([1, 2, 0])
    now, then = (GoalScene(goal, m).bind(context(features=alike[None])) for m in ("now", "then"))
    swapped = moment(PLACES[order], alike[None, None, None][0])
    assert then(swapped, NO_ACTIONS).item() < 1e-5
    assert now(swapped, NO_ACTIONS).item() > 0.3


def test_one_to_one_lets_no_particle_stand_for_two() -> None:
    alike = torch.zeros(1, 2, 4)
    goal = particles(torch.tensor([[[0.0, 0.0], [0.2, 0.0]]]), alike)
    both_there = torch.tensor([[0.1, 0.0], [0.9, 0.0]])
    here = context(both_there, features=alike[None])
    then, nearest = (GoalScene(goal, m).bind(here) for m in ("then", "nearest"))
    at = moment(both_there, alike[None, None])
    assert nearest(at, NO_ACTIONS).item() == pytest.approx(0.05, abs=1e-4)
    assert then(at, NO_ACTIONS).item() == pytest.approx((0.05 + 0.35) / 2, abs=1e-4)


def test_partners_are_told_by_their_looks_wherever_they_are() -> None:
    order = [2, 0, 1]
    goal = particles(PLACES[None]).map(lambda x: x[:, order])  # at the places of others
    moved = tree_map(lambda x: x, goal)
    bound = GoalScene(moved).bind(context(PLACES.flip(0)))
    assert isinstance(bound, Arrival)
    assert bound.index.tolist() == [order]
    assert bound.weight.tolist() == [[1, 1, 1]]


def test_more_targets_than_particles_are_told_and_not_scored() -> None:
    bound = GoalScene(particles(PLACES[None])).bind(context(on=torch.tensor([1.0, 0.0, 1.0])))
    assert isinstance(bound, Arrival)
    assert bound.weight.tolist() == [[1, 0, 1]]


def test_a_weight_of_0_leaves_a_particle_free() -> None:
    goal = GoalScene(particles(PLACES[None]), weight=torch.tensor([1.0, 0.0, 1.0]))
    away = PLACES + torch.tensor([[0.0, 0.0], [0.4, 0.4], [0.0, 0.0]])
    assert goal.bind(context())(moment(away), NO_ACTIONS).item() < 1e-5


def test_slots_that_are_off_are_left_out_and_keep_their_names() -> None:
    here = context(on=torch.tensor([0.0, 1.0, 1.0]))
    assert here.slots.tolist() == [[1, 2]]
    assert here.now.position.tolist() == [PLACES[1:].tolist()]
    bound = Places({2: (0.0, 0.0)}).bind(here)
    assert bound.index.tolist() == [[1]]


def test_looks_count_up_to_a_bound() -> None:
    here = context()
    goal = GoalScene(particles(PLACES[None]), prices=Prices(appearance=0.02))
    features = 3 * torch.eye(3)
    for gap, expected in ((1.0, 0.02), (100.0, 0.2)):
        other = (features + torch.tensor([gap, 0.0, 0.0]))[None, None, None]
        assert goal.bind(here)(moment(PLACES, other), NO_ACTIONS).item() == pytest.approx(
            expected if gap == 1.0 else 0.2, abs=1e-4
        )


def test_keep_away_costs_only_inside() -> None:
    near = KeepAway(0, 1, radius=0.5, weight=10.0).bind(context())
    assert near(moment(PLACES), NO_ACTIONS).item() == 0
    assert near.depth(moment(PLACES)).item() < 0
    touching = PLACES.clone()
    touching[0] = PLACES[1] - torch.tensor([0.3, 0.0])
    assert near(moment(touching), NO_ACTIONS).item() == pytest.approx(10 * 0.2 / 2, abs=1e-4)
    point = KeepAway(0, (-0.5, 0.1), radius=0.3).bind(context())
    assert isinstance(point, Intrusion)
    assert point.depth(moment(PLACES)).item() == pytest.approx(0.2, abs=1e-5)


def test_over_time() -> None:
    costs = torch.tensor([[3.0, 1.0, 2.0]])
    assert over_time(costs, "running").tolist() == [4.0]
    assert over_time(costs, "last").tolist() == [2.0]
    assert over_time(costs, "least").tolist() == [1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no particle and no place"),
        ("2", "give a particle and a place"),
        ("2:0.3", "give a particle and a place"),
        ("a:0.3,0.1", "give a particle and a place"),
        ("2:0.3,1.2", "places go from -1 to 1"),
        ("2:nan,0", "places go from -1 to 1"),
    ],
)
def test_places_that_are_none(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Places.parse(text)


def test_places_are_read() -> None:
    assert Places.parse("2:0.3,-0.1 0:1,-1").targets == {2: (0.3, -0.1), 0: (1.0, -1.0)}


def test_goals_that_do_not_fit() -> None:
    off = torch.zeros(3)
    with pytest.raises(InputError, match="no particle 7 in the picture of now: there are 0, 1, 2"):
        Places({7: (0.0, 0.0)}).bind(context())
    with pytest.raises(InputError, match="no particle is on in the goal picture"):
        GoalScene(particles(PLACES[None], on=off[None])).bind(context())
    with pytest.raises(InputError, match="no particle is on in the picture of now"):
        GoalScene(particles(PLACES[None])).bind(context(on=off))
