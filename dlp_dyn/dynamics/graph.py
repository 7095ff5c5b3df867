"""GraphDynamics: an interaction network over particles (Battaglia et al. 2016; G-SWM, Lin et al. 2020)."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from dlp_dyn.dynamics.base import NOTHING, Conditions, Dynamics, Prediction, State, Step
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.dynamics.messages import MessagePassing, Nodes, nodes_of_all, nodes_of_last
from dlp_dyn.nn import mlp, zero_last
from dlp_dyn.particles import Draw, ParticleDistribution, Scene, SceneDistribution, beta, mean, rsample

_LOG_STD = -2.0  # at initialisation, of positions in motion units
_LOG_STD_RANGE = (-5.0, 2.0)  # a narrower one makes a single surprise outweigh all else
# Bounds that keep a long rollout from running away: of the change of motion in motion units, and of positions.
_MOST_CHANGE, _FARTHEST = 4.0, 2.0
_CONCENTRATION = 3.0  # log of a + b of transparency's Beta at initialisation


class GraphDynamics(MessagePassing, Dynamics):
    """Particles send messages to each other; each changes by what it gets, what it is, and how it moved.

    Memory is the window of the last frames, not a recurrent state: all times of a clip train in one call, a rollout's
    step costs the same at any horizon, and noise in single positions averages out over the window, which two frames
    would not do. Equivariant to the order of particles, and fit for any number of them. Messages count as much as
    their sender is visible. Predicts the change of motion, so it starts as constant velocity. latent_dim: width of the
    latent actions that `following` is given; 0 is none.
    """

    any_number = True

    def __init__(
        self, cfg: DynamicsConfig, feature_dim: int, background_dim: int, latent_dim: int = 0
    ) -> None:
        super().__init__(cfg, feature_dim, background_dim, cfg.action_dim, latent_dim)
        self.window, hidden = cfg.window, cfg.graph.hidden_dim
        self.push = zero_last(mlp([hidden, 2]), [0.0, 0.0])
        self.widths = [4, 4, 2, 2, 2 * feature_dim]
        f, spread = feature_dim, _LOG_STD
        bias = [0.0, 0.0, spread, spread] * 2 + [0.0, spread, 0.0, _CONCENTRATION] + [0.0] * f + [spread] * f
        self.particle_out = zero_last(mlp([hidden, 2 * hidden, sum(self.widths)]), bias)
        self.background_out = zero_last(
            mlp([hidden, hidden, 2 * background_dim]), [0.0] * background_dim + [spread] * background_dim
        )

    def forward(
        self,
        scenes: Scene,
        conditions: Conditions = NOTHING,
        sample: Draw = rsample,  # noqa: ARG002 - nothing here is latent
    ) -> Prediction:
        """Of frames 0 .. U, distributions of frames 1 .. U; each sees `window` frames at most."""
        b, t = scenes[:, :-1].background.shape[:2]
        nodes = nodes_of_all(scenes[:, :-1], self.window, self.cfg.motion_scale)
        actions = conditions.actions
        flat = None if actions is None else actions[:, :t].flatten(0, 1)
        following = self.following(nodes.map(lambda x: x.flatten(0, 1)), flat)
        return Prediction(following.map(lambda x: x.unflatten(0, (b, t))))

    def step(
        self,
        scenes: Scene,
        conditions: Conditions,
        state: State,  # noqa: ARG002 - a step is as cheap as its newest frame: there is nothing to remember
        sample: Draw = mean,
    ) -> Step:
        """Of the frame after the last."""
        nodes = nodes_of_last(scenes, self.window, self.cfg.motion_scale)
        actions = conditions.actions
        following = self.following(nodes, None if actions is None else actions[:, -1])
        return Step(following, drawn=following.draw(sample))

    def following(
        self, nodes: Nodes, action: Float[Tensor, "B A"] | None, latent: Float[Tensor, "B M L"] | None = None
    ) -> SceneDistribution:
        """The scenes after those of the nodes."""
        told = self.tell(nodes, action, latent)
        unit = told.unit
        # Forces along and across the line between two particles, on top of what each makes of its messages.
        along, across = self.push(told.edge).chunk(2, -1)
        normal_to = torch.stack([-unit[..., 1], unit[..., 0]], -1)
        force = (told.weight * (along * unit + across * normal_to)).sum(2)
        return self._distribution(told.particles, told.background, force, nodes)

    def _distribution(self, h: Tensor, u: Tensor, force: Tensor, nodes: Nodes) -> SceneDistribution:
        p, unit = nodes.particles, self.cfg.motion_scale
        out = self.particle_out(h).float().split(self.widths, -1)
        change, log_std = out[0].chunk(2, -1)
        change = _MOST_CHANGE * ((change + force) / _MOST_CHANGE).tanh()
        position = (p.position + unit * (nodes.motions[:, 0] + change)).clamp(-_FARTHEST, _FARTHEST)
        shift, log_concentration = out[3].chunk(2, -1)
        share = (torch.logit(p.transparency.float(), 1e-3) + shift).sigmoid().clamp(1e-4, 1 - 1e-4)
        concentration = log_concentration.clamp(-2, 8).exp()
        return SceneDistribution(
            ParticleDistribution(
                position=Normal(position, unit * _std(log_std), validate_args=False),
                scale=_moved(p.scale, out[1]),
                depth=_moved(p.depth, out[2]),
                transparency=beta(share * concentration, (1 - share) * concentration),
                features=_moved(p.features, out[4]),
            ),
            _moved(nodes.background, self.background_out(u).float()),
        )


def _std(log_std: Tensor) -> Tensor:
    return log_std.clamp(*_LOG_STD_RANGE).exp()


def _moved(last: Tensor, out: Tensor) -> Normal:
    change, log_std = out.chunk(2, -1)
    return Normal(last + change, _std(log_std), validate_args=False)
