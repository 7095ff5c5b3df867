"""A family of dynamics of a test's own: what it takes to train, roll out, plan and predict with a new one."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.testing import assert_close
from video_runs import IMAGE
from video_runs import dynamics as dynamics_config

from dlp_dyn.clip import Clip, SceneClip
from dlp_dyn.dynamics.actions import ActionInput
from dlp_dyn.dynamics.base import NOTHING, Conditions, Dynamics, Prediction, State, Step
from dlp_dyn.dynamics.rollout import futures, rollout
from dlp_dyn.objectives.clip_elbo import ClipElbo
from dlp_dyn.objectives.rollout import RolloutError
from dlp_dyn.particles import (
    Draw,
    ParticleDistribution,
    Scene,
    SceneDistribution,
    beta,
    mean,
    normal,
    rsample,
)
from dlp_dyn.tracking.config import TrackingConfig
from dlp_dyn.video import VideoConfig, VideoModel

WINDOW, ACTIONS = 4, 2


class Drift(Dynamics):
    """Every particle goes on by the same learned step, and by what an action adds to it."""

    any_number = True

    def __init__(self, window: int, action_dim: int = 0) -> None:
        super().__init__()
        self.window = window
        self.drift = nn.Parameter(torch.tensor([0.1, 0.0]))
        self.action = ActionInput(action_dim, 2) if action_dim else None

    def forward(self, scenes: Scene, conditions: Conditions = NOTHING, sample: Draw = rsample) -> Prediction:
        del sample  # nothing here is latent
        before = scenes[:, :-1]
        actions = conditions.between(0, before.background.shape[1]).actions
        return Prediction(self._after(before, actions))

    def step(self, scenes: Scene, conditions: Conditions, state: State, sample: Draw = mean) -> Step:
        del state
        actions = conditions.actions
        following = self._after(scenes[:, -1], None if actions is None else actions[:, -1])
        return Step(following, drawn=following.draw(sample))

    def _after(self, scene: Scene, actions: Float[Tensor, "*B A"] | None) -> SceneDistribution:
        p = scene.particles
        drift = self.drift
        if self.action is not None:
            assert actions is not None
            drift = drift + self.action(actions)[..., None, :]
        still = {
            k: normal(x, torch.zeros_like(x))
            for k, x in (("scale", p.scale), ("depth", p.depth), ("features", p.features))
        }
        position = normal(p.position + drift, torch.full_like(p.position, -4.0))
        on = p.transparency.clamp(0.01, 0.99)
        background = normal(scene.background, torch.zeros_like(scene.background))
        return SceneDistribution(
            ParticleDistribution(position=position, transparency=beta(on, 1 - on), **still), background
        )


def model(action_dim: int = 0) -> VideoModel:
    torch.manual_seed(0)
    cfg = VideoConfig(IMAGE, TrackingConfig("match", static_frames=1), dynamics_config(action_dim))
    return VideoModel(cfg, Drift(WINDOW, action_dim))


def clips(n_frames: int = WINDOW + 2) -> Clip:
    frames = torch.randint(0, 256, (2, n_frames, 32, 32, 3), dtype=torch.uint8)
    return Clip(frames, torch.randn(2, n_frames, ACTIONS))


def test_a_family_of_ones_own_trains_on_clips_and_on_particles() -> None:
    video, batch = model(ACTIONS), clips()
    video.dynamics.fit_actions(torch.randn(20, ACTIONS))
    with torch.no_grad():
        scene = video.encode(batch.video)[0].scene
    for objective, given in (
        (ClipElbo(video), batch),
        (RolloutError(video), SceneClip(scene, batch.actions)),
    ):
        video.zero_grad()
        terms, _ = objective(given)
        torch.stack([term.mean() for term in terms.values()]).sum().backward()
        drift = video.dynamics.get_parameter("drift")
        assert drift.grad is not None
        assert drift.grad.abs().sum() > 0


def test_a_family_of_ones_own_predicts_samples_and_plans() -> None:
    video, batch = model(ACTIONS).eval(), clips()
    context, actions = batch.video[:, :2], batch.actions
    future = video.predict(context, 3, actions)
    drawn = video.predict(context, 3, actions, 2, torch.Generator().manual_seed(0))
    assert drawn.background.shape[:2] == (4, 5)
    candidates = torch.zeros(2, 3, 3, ACTIONS, requires_grad=True)
    assert actions is not None
    planned = futures(video.dynamics, future[:, :2], candidates, Conditions(actions[:, :1]))
    planned.particles.position.sum().backward()
    assert candidates.grad is not None
    assert (candidates.grad.abs().sum(-1) > 0).all()


def test_a_drift_drifts() -> None:
    video = model().eval()
    scene = video.encode(clips().video)[0].scene[:, :1].detach()
    whole = rollout(video.dynamics, scene, 5).particles.position
    assert_close(whole[:, -1], whole[:, 0] + 5 * torch.tensor([0.1, 0.0]))
    forced = video.dynamics(rollout(video.dynamics, scene, 2)).scenes.mean.particles.position
    assert_close(forced, whole[:, 1:3])
