"""The objective of dynamics on the particles of a frozen image model: rollouts against what followed."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn.clip import SceneClip
from dlp_dyn.dynamics.base import Conditions, Dynamics, Step
from dlp_dyn.dynamics.rollout import unroll
from dlp_dyn.objectives.base import Losses, Objective, Update
from dlp_dyn.objectives.config import STEADY, RolloutWeights, ScheduleConfig
from dlp_dyn.objectives.schedules import rollout_steps
from dlp_dyn.particles import Scene, SceneDistribution
from dlp_dyn.video import VideoModel

_SMOOTH = 0.02  # of distances, in motion units: below it they count squared


class RolloutError(Objective):
    """Errors of rollouts of the dynamics, on particles that a frozen image model has encoded."""

    Weights = RolloutWeights
    model: VideoModel

    def __init__(self, model: VideoModel, schedule: ScheduleConfig = STEADY) -> None:
        super().__init__(model)
        self.schedule = schedule
        self._terms = self.measure()
        model.image.requires_grad_(False)
        model.image.eval()

    def train(self, mode: bool = True) -> "RolloutError":
        """The image model stays as it is in use."""
        super().train(mode)
        self.model.image.eval()
        return self

    def measure(self) -> Callable[..., dict[str, Float[Tensor, " B"]]]:
        """What gives the terms."""
        return rollout_terms

    def compile(self, **options: Any) -> None:
        self._terms = torch.compile(self.measure(), **options)

    def updates(self) -> tuple[Update, ...]:
        return (Update("dynamics", tuple(self.model.dynamics.parameters())),)

    def forward(self, batch: SceneClip, update: str = "dynamics", step: int = 1) -> Losses:  # noqa: ARG002
        d = self.model.cfg.dynamics
        n_steps = rollout_steps(self.schedule, step, batch.scene.background.shape[1] - d.window)
        n_context = d.window
        if self.training and d.least_context:
            n_context = int(torch.randint(d.least_context, d.window + 1, ()))
        unseen = d.window - n_context
        actions = None if batch.actions is None else batch.actions[:, unseen:]
        clip = SceneClip(batch.scene[:, unseen:], actions)
        if self.training and self.model.dynamics.any_number:
            clip = _without_idle(clip, n_context)
        terms = self._terms(self.model.dynamics, clip, n_context, n_steps, d.graph.motion_scale)
        return Losses(terms, {"distance": d.graph.motion_scale * terms["rollout_position"].detach()})


def _without_idle(clip: SceneClip, n_context: int) -> SceneClip:
    """Particles that are on in no frame of the context are left out, but for one in some clip, which stays off.

    Each takes as much time as any other, and more with every pair of them; there is one thing to learn from all.
    """
    particles = clip.scene.particles
    used = particles.visible[:, :n_context].any(1)
    least, most = (int(n) for n in used.sum(1).aminmax())
    kept = min(max(most, least + 1), used.shape[1])
    slots = used.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, None, :kept, None]
    return SceneClip(
        Scene(particles.map(lambda x: x.take_along_dim(slots, 2)), clip.scene.background), clip.actions
    )


def rollout_terms(
    dynamics: Dynamics, clip: SceneClip, n_context: int, n_steps: int, unit: float
) -> dict[str, Float[Tensor, " B"]]:
    """`n_context` true scenes, then the means of `n_steps` predicted ones, compared with what followed."""
    return step_terms(
        unroll(dynamics, clip.scene[:, :n_context], n_steps, Conditions(clip.actions)), clip, n_context, unit
    )


def step_terms(
    steps: Iterable[Step], clip: SceneClip, n_context: int, unit: float
) -> dict[str, Float[Tensor, " B"]]:
    """Predicted scenes of the frames from `n_context` on, compared with what followed.

    Distances are not squared: a collision that came out the wrong way counts as much as it shows, and no more.
    rollout_position: distance in units of motion, of visible particles. rollout_attributes: squared error of all else.
    rollout_spread: minus log-likelihood around the means, which the means do not learn from. Means over particles
    and steps.
    """
    errors = [
        _step_errors(step.scenes, step.drawn, clip.scene[:, n_context + i], unit)
        for i, step in enumerate(steps)
    ]
    return {name: torch.stack([error[name] for error in errors]).mean(0) for name in errors[0]}


def _step_errors(
    distribution: SceneDistribution, scene: Scene, target: Scene, unit: float
) -> dict[str, Float[Tensor, " B"]]:
    p, q, d = scene.particles, target.particles, distribution.particles
    visible = q.transparency[..., 0]
    weight = visible / visible.sum(-1, keepdim=True).clamp_min(1)
    gap = (p.position - q.position).square().sum(-1) / unit**2
    distance = (gap + _SMOOTH**2).sqrt() - _SMOOTH

    def squared(a: Tensor, b: Tensor) -> Tensor:
        return (weight * (a - b).square().sum(-1)).sum(-1)

    def surprise(dist: Normal, value: Tensor) -> Tensor:
        around = Normal(dist.loc.detach(), dist.scale, validate_args=False)
        return -around.log_prob(value).sum(-1)

    normals = ((d.position, q.position), (d.scale, q.scale), (d.depth, q.depth), (d.features, q.features))
    on = q.transparency.clamp(1e-3, 1 - 1e-3)
    spread = torch.stack([surprise(dist, value) for dist, value in normals]).sum(0)
    return {
        "rollout_position": (weight * distance).sum(-1),
        "rollout_attributes": squared(p.scale, q.scale)
        + squared(p.depth, q.depth)
        + squared(p.features, q.features)
        + (p.transparency - q.transparency).square().mean((-1, -2))
        + (scene.background - target.background).square().sum(-1),
        "rollout_spread": (weight * spread).sum(-1)
        - d.transparency.log_prob(on).mean((-1, -2))
        + surprise(distribution.background, target.background),
    }
