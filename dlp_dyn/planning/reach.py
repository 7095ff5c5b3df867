"""Far goals: how many blocks of actions it takes from one scene to another, learned from the rollouts themselves.

A wall between a thing and its goal is a local minimum of every distance in the picture. But who has wandered about
knows which scenes follow one another: a graph of visited scenes, whose shortest paths are times to reach (in the manner
of search on the replay buffer, Eysenbach et al. 2019, on particles).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from dlp_dyn.errors import InputError
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.costs import Arrival, Cost, length
from dlp_dyn.planning.goals import GoalScene, partners

_SIDE = 2.0  # of an image, in the units of positions
_UNREACHED = 2.0  # times the longest known way: where no way to the goal was ever seen


@dataclass(frozen=True)
class Remaining:
    """How far it still is along ways that were gone before, in image sides.

    places: of the targets' particles in the visited scenes. blocks: of actions from there to the goal. stride: what one
    block moves. The way's last blocks are measured in the picture.
    """

    arrival: Arrival
    places: Float[Tensor, "M Q"]
    blocks: Float[Tensor, " M"]
    stride: float

    def __call__(self, scene: Scene, actions: Float[Tensor, "B S H W"]) -> Float[Tensor, "B S H"]:
        index = self.arrival.index[:, None, None, :, None]
        now = scene.particles.position.take_along_dim(index, -2).flatten(-2)
        nearest = torch.cdist(now.flatten(0, -2), self.places).argmin(-1)
        left = self.stride * self.blocks[nearest].view(now.shape[:-1])
        return left + self.arrival(scene, actions).clamp_max(2 * self.stride)


@dataclass(frozen=True)
class TimeToReach:
    """A goal scene that may be far away, approached along what was visited; see `time_to_reach`."""

    goal: GoalScene
    places: Float[Tensor, "M Q"]
    blocks: Float[Tensor, " M"]
    stride: float

    def bind(self, context: Context) -> Remaining:
        return Remaining(self.goal.arrival(context), self.places, self.blocks, self.stride)

    def followed(self, bound: Cost, context: Context) -> "TimeToReach":
        assert isinstance(bound, Remaining)
        return replace(self, goal=self.goal.followed(bound.arrival, context))


def time_to_reach(goal: GoalScene, episodes: Sequence[Particles], radius: float = 0.06) -> TimeToReach:
    """The goal of one problem, with times to reach it from everywhere that was visited.

    episodes: particles (T, N, ...), one block of actions apart. radius: scenes whose targets are this close to one
    another, in the units of positions, are one node of the graph: less than any wall is thick.
    Raises InputError where no visited scene has the goal's particles.
    """
    p = goal.particles
    if len(p.position) != 1:
        raise InputError(f"goal: times to reach are of one problem, these are {len(p.position)}")
    on = p.visible[0] if goal.weight is None else p.visible[0] & (goal.weight > 0)
    targets = p.map(lambda x: x[:, on])
    weight = None if goal.weight is None else goal.weight[on]
    last = None if goal.last is None else goal.last[:, on]
    goal = replace(goal, particles=targets, weight=weight, last=last)
    tracks = [_track(targets, episode) for episode in episodes]
    seen = [places[found] for places, found in tracks]
    if not sum(map(len, seen)):
        raise InputError("goal: no visited scene shows the particles of the goal: give other rollouts")
    nodes = _cover(torch.cat(seen), radius)
    edges, strides = [], []
    for places, found in tracks:
        node = torch.cdist(places, nodes).argmin(-1)
        follows = found[:-1] & found[1:]
        edges.append(torch.stack([node[:-1], node[1:]], 1)[follows])
        strides.append(length((places[1:] - places[:-1]).unflatten(-1, (-1, 2))).mean(-1)[follows])
    wanted = targets.position.flatten()
    there = torch.cdist(wanted[None], nodes).argmin()
    blocks = _times(torch.cat(edges), int(there), len(nodes))
    moved = torch.cat(strides)
    stride = float(moved.quantile(0.75)) / _SIDE if len(moved) else radius / _SIDE
    return TimeToReach(goal, nodes, blocks, stride)


def _track(targets: Particles, episode: Particles) -> tuple[Float[Tensor, "T Q"], Bool[Tensor, " T"]]:
    """Where the particles of the targets are in each scene, and in which scenes all of them are."""
    t = len(episode.position)
    wanted = torch.ones(t, targets.position.shape[1], dtype=torch.bool)
    each = targets.map(lambda x: x.expand(t, *x.shape[1:]))
    index, found = partners(each, wanted, episode, episode.visible)
    return episode.position.take_along_dim(index[..., None], 1).flatten(1), found.all(1)


def _cover(points: Float[Tensor, "K Q"], radius: float) -> Float[Tensor, "M Q"]:
    """Some of the points, so that every point is within the radius of one: always the one farthest from all before."""
    far = torch.full((len(points),), torch.inf)
    chosen = [0]
    while True:
        far = torch.minimum(far, (points - points[chosen[-1]]).norm(dim=-1))
        if far.max() <= radius:
            return points[chosen]
        chosen.append(int(far.argmax()))


def _times(edges: Int[Tensor, "E 2"], goal: int, n: int) -> Float[Tensor, " n"]:
    """Blocks from every node to the goal, along edges that were gone."""
    begin, end = edges.numpy().T
    ways = coo_matrix((np.ones(len(edges)), (end, begin)), (n, n)).tocsr()  # against the time
    ways.data[:] = 1.0
    blocks = dijkstra(ways, indices=goal)
    known = np.isfinite(blocks)
    blocks[~known] = _UNREACHED * max(float(blocks[known].max()), 1.0)
    return torch.from_numpy(blocks).float()
