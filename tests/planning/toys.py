"""A world whose dynamics are known: particles on a plane, the first of which goes where actions say."""

import torch
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn.dynamics.base import Conditions, Dynamics, State, Step
from dlp_dyn.particles import Draw, ParticleDistribution, Particles, Scene, SceneDistribution, beta, mean

STEP = 0.2  # how far an action of 1 moves the first particle


def particles(position: Tensor, features: Tensor | None = None, on: Tensor | None = None) -> Particles:
    """Of positions (..., N, 2); features are those of N different things."""
    shape = position.shape[:-1]
    if features is None:
        features = 3 * torch.eye(shape[-1]).expand(*shape, shape[-1])
    transparency = torch.ones(*shape, 1) if on is None else on[..., None].float()
    return Particles(position, torch.zeros(*shape, 2), torch.zeros(*shape, 1), transparency, features)


def scene(position: Tensor, features: Tensor | None = None, on: Tensor | None = None) -> Scene:
    return Scene(particles(position, features, on), torch.zeros(*position.shape[:-2], 1))


class Steered(Dynamics):
    """The first particle moves by STEP times the sum of a block's actions; noise is the spread of its distribution."""

    window = 2

    any_number = True

    def __init__(self, noise: float = 1e-6) -> None:
        super().__init__()
        self.noise = noise

    def step(self, scenes: Scene, conditions: Conditions, state: State, sample: Draw = mean) -> Step:
        del state
        assert conditions.actions is not None
        p = scenes.particles[:, -1]
        distribution = self.moved(p, STEP * conditions.actions[:, -1].unflatten(-1, (-1, 2)).sum(-2), scenes)
        return Step(distribution, drawn=distribution.draw(sample))

    def moved(self, p: Particles, moved: Tensor, scenes: Scene) -> SceneDistribution:
        first = torch.eye(p.position.shape[1])[0][:, None]
        position = p.position + first * moved[:, None]

        def exactly(x: Tensor) -> Normal:
            return Normal(x, torch.full_like(x, self.noise))

        share = p.transparency.clamp(1e-4, 1 - 1e-4)
        return SceneDistribution(
            ParticleDistribution(
                exactly(position), exactly(p.scale), exactly(p.depth), beta(100 * share, 100 * (1 - share)),
                exactly(p.features),
            ),
            exactly(scenes.background[:, -1]),
        )  # fmt: skip


def generators(n: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]
