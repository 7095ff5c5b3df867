"""Times to reach, from wandering about: they lead around a wall that hides the goal from every distance."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from toys import Steered, generators, particles, scene

from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.errors import InputError
from dlp_dyn.particles import Particles, Scene, SceneDistribution
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.goals import Goal, GoalScene
from dlp_dyn.planning.planner import Planner
from dlp_dyn.planning.reach import time_to_reach
from dlp_dyn.planning.shooting import Predictor
from dlp_dyn.planning.solvers import ICEM
from dlp_dyn.tree import cat, tree_map

START, END = torch.tensor([[[-0.5, -0.5]]]), torch.tensor([[[0.5, -0.5]]])


class Walled(Steered):
    """A wall at x = 0, 0.2 thick, with a door from y = 0.5 to 0.9; the particle stops before it."""

    def moved(self, p: Particles, moved: Tensor, scenes: Scene) -> SceneDistribution:
        free = super().moved(p, moved, scenes)
        after = free.particles.position.loc.clamp(-0.95, 0.95)
        y = torch.stack([p.position[..., 1], after[..., 1]])
        door = ((y > 0.5) & (y < 0.9)).all(0)
        inside = (after[..., 0].abs() < 0.1) | (p.position[..., 0] * after[..., 0] < 0)
        kept = torch.where((inside & ~door)[..., None], p.position, after)
        return tree_map(lambda x: kept if x is free.particles.position.loc else x, free)


SPACE = ActionSpace(-torch.ones(2), torch.ones(2))
PLANS = Planner(Predictor(Walled()), SPACE, ICEM(samples=60, elites=10, iterations=3), horizon=5)


@pytest.fixture(scope="module")
def wandered() -> list[Particles]:
    """60 walks of 60 random steps, from anywhere."""
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(60, 1, 1, 2, generator=rng) * 1.8 - 0.9
    x[..., 0] = torch.where(x[..., 0].abs() < 0.1, 0.5, x[..., 0])
    drift = torch.randn(60, 1, 2, generator=rng)
    scenes = [x[:, 0]]
    for _ in range(60):
        drift = 0.8 * drift + 0.6 * torch.randn(60, 1, 2, generator=rng)
        now = scene(scenes[-1][:, None])
        scenes.append(Walled().step(now, Conditions(drift.clamp(-1, 1)), None).drawn.particles.position)
    return [particles(torch.stack([s[i] for s in scenes])) for i in range(60)]


def walk(goal: Goal, steps: int = 30) -> Tensor:
    """Where a particle comes that plans at every step."""
    position, start, rng = START, None, generators(1)
    for _ in range(steps):
        now = Context.of(scene(position[:, None]), None)
        plan = PLANS.plan(now, [goal.bind(now)], rng, start)
        position = PLANS.imagine(now, plan.actions).particles.position[:, 0]
        start = torch.cat([plan.actions[:, 1:], PLANS.idle(1)[:, :1]], 1)
    return position


def test_a_wall_is_gone_around(wandered: list[Particles]) -> None:
    goal = GoalScene(particles(END))
    stuck, arrived = walk(goal), walk(time_to_reach(goal, wandered))
    assert stuck[0, 0, 0] < 0
    assert (arrived - END).norm() < 0.1


def test_slots_that_are_off_are_no_targets(wandered: list[Particles]) -> None:
    """A scene has all slots of its model; ways are those of the particles that are on."""
    off = replace(particles(torch.zeros(1, 1, 2)), transparency=torch.zeros(1, 1, 1))
    alone = time_to_reach(GoalScene(particles(END)), wandered)
    with_more = time_to_reach(GoalScene(cat([off, particles(END)], 1)), wandered)
    now = Context.of(scene(START[:, None]), None)
    plans = torch.zeros(1, 4, 3, 2)
    assert torch.equal(*(r.bind(now)(PLANS.predictor(now, plans), plans) for r in (alone, with_more)))


def test_times_are_those_of_the_shortest_way(wandered: list[Particles]) -> None:
    reach = time_to_reach(GoalScene(particles(END)), wandered)

    def blocks(place: Tensor) -> float:
        return float(reach.blocks[torch.cdist(place[0], reach.places).argmin()])

    assert blocks(END) == 0
    assert blocks(START) > blocks(torch.tensor([[[-0.5, 0.7]]])) > blocks(torch.tensor([[[0.3, 0.7]]])) > 0
    assert blocks(START) >= 9  # 1.2 up, 1 across, 1.2 down, by 0.28 at most


def test_every_visited_place_is_near_a_node(wandered: list[Particles]) -> None:
    reach = time_to_reach(GoalScene(particles(END)), wandered, radius=0.2)
    places = torch.cat([walked.position[:, 0] for walked in wandered])
    assert torch.cdist(places, reach.places).amin(1).max() <= 0.2
    assert torch.pdist(reach.places).min() > 0.2


def test_goals_that_were_never_seen(wandered: list[Particles]) -> None:
    off = [p.map(torch.zeros_like) for p in wandered]
    with pytest.raises(InputError, match="no visited scene shows the particles"):
        time_to_reach(GoalScene(particles(END)), off)
    with pytest.raises(InputError, match="of one problem, these are 2"):
        time_to_reach(GoalScene(particles(END.expand(2, 1, 2))), wandered)
