"""GraphDynamics: an interaction network over particles (Battaglia et al. 2016; G-SWM, Lin et al. 2020)."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import gelu

from dlp_dyn.dynamics.actions import ActionInput
from dlp_dyn.dynamics.base import NOTHING, Conditions, Dynamics, Prediction, State, Step
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.nn import mlp, zero_last
from dlp_dyn.particles import (
    Draw,
    ParticleDistribution,
    Particles,
    Scene,
    SceneDistribution,
    beta,
    mean,
    rsample,
)

_EDGE_MOTIONS = 3  # of the last motions, how many the edges compare
_LOG_STD = -2.0  # at initialisation, of positions in motion units
_LOG_STD_RANGE = (-5.0, 2.0)  # a narrower one makes a single surprise outweigh all else
# Bounds that keep a long rollout from running away: of the change of motion in motion units, and of positions.
_MOST_CHANGE, _FARTHEST = 4.0, 2.0
_CONCENTRATION = 3.0  # log of a + b of transparency's Beta at initialisation


@dataclass(frozen=True)
class _Nodes:
    """Particles with their recent motion, a frame each. motions: newest first, in motion units, 0 where unknown."""

    particles: Particles
    motions: Float[Tensor, "B W N 2"]
    known: Bool[Tensor, "B W"]
    background: Float[Tensor, "B G"]


class GraphDynamics(Dynamics):
    """Particles send messages to each other; each changes by what it gets, what it is, and how it moved.

    Memory is the window of the last frames, not a recurrent state: all times of a clip train in one call, a rollout's
    step costs the same at any horizon, and noise in single positions averages out over the window, which two frames
    would not do. Equivariant to the order of particles, and fit for any number of them. Messages count as much as
    their sender is visible. Predicts the change of motion, so it starts as constant velocity.
    """

    any_number = True

    def __init__(self, cfg: DynamicsConfig, feature_dim: int, background_dim: int) -> None:
        super().__init__()
        g, hidden = cfg.graph, cfg.graph.hidden_dim
        self.window, self.cfg = cfg.window, g
        n_motions = cfg.window - 1
        self.n_edge_motions = min(_EDGE_MOTIONS, n_motions)
        node_dim = 2 + 2 + 1 + 1 + feature_dim + 3 * n_motions
        edge_dim = 8 + 4 * self.n_edge_motions
        self.node_in = mlp([node_dim, hidden, hidden])
        self.background_in = mlp([background_dim + 2, hidden, hidden])
        self.action = ActionInput(cfg.action_dim, hidden) if cfg.action_dim else None
        self.receiver, self.sender, self.relation = (
            nn.ModuleList(nn.Linear(n, hidden, bias=bias) for _ in range(g.rounds))
            for n, bias in ((hidden, True), (hidden, False), (edge_dim, False))
        )
        self.message = nn.ModuleList(mlp([hidden, hidden]) for _ in range(g.rounds))
        self.gather = nn.ModuleList(mlp([hidden, hidden]) for _ in range(g.rounds))
        self.update = nn.ModuleList(mlp([3 * hidden, hidden, hidden]) for _ in range(g.rounds))
        self.background_update = nn.ModuleList(mlp([2 * hidden, hidden, hidden]) for _ in range(g.rounds))
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
        history = scenes[:, :-1]
        b, t = history.background.shape[:2]
        p = history.particles
        motion = p.position.diff(dim=1) / self.cfg.motion_scale
        motions, known = [], []
        for lag in range(self.window - 1):
            moved = motion[:, : max(t - 1 - lag, 0)]
            motions.append(
                torch.cat([p.position.new_zeros(b, t - moved.shape[1], *p.position.shape[2:]), moved], 1)
            )
            known.append(torch.arange(t, device=motion.device) > lag)
        nodes = _Nodes(
            p.map(lambda x: x.flatten(0, 1)),
            torch.stack(motions, 2).flatten(0, 1),
            torch.stack(known, 1).expand(b, -1, -1).flatten(0, 1),
            history.background.flatten(0, 1),
        )
        actions = conditions.actions
        flat = None if actions is None else actions[:, :t].flatten(0, 1)
        return Prediction(self._predict(nodes, flat).map(lambda x: x.unflatten(0, (b, t))))

    def step(
        self,
        scenes: Scene,
        conditions: Conditions,
        state: State,  # noqa: ARG002 - a step is as cheap as its newest frame: there is nothing to remember
        sample: Draw = mean,
    ) -> Step:
        """Of the frame after the last."""
        p = scenes.particles
        motion = p.position[:, -self.window :].diff(dim=1).flip(1) / self.cfg.motion_scale
        b, found, n = motion.shape[:3]
        missing = motion.new_zeros(b, self.window - 1 - found, n, 2)
        known = torch.arange(self.window - 1, device=motion.device) < found
        nodes = _Nodes(
            p[:, -1], torch.cat([motion, missing], 1), known.expand(b, -1), scenes.background[:, -1]
        )
        actions = conditions.actions
        following = self._predict(nodes, None if actions is None else actions[:, -1])
        return Step(following, drawn=following.draw(sample))

    def _predict(self, nodes: _Nodes, action: Float[Tensor, "B A"] | None) -> SceneDistribution:
        p, background, motions = nodes.particles, nodes.background, nodes.motions
        n = p.position.shape[1]
        seen = nodes.known[:, None, :].expand(-1, n, -1).to(p.position.dtype)
        h = self.node_in(torch.cat([*p, rearrange(motions, "b w n d -> b n (w d)"), seen], -1))
        visible = p.transparency
        total = visible.sum(1)
        mean_position = (visible * p.position).sum(1) / (total + 1e-6)
        u = self.background_in(torch.cat([background, mean_position], -1))
        if self.action is not None:
            assert action is not None
            u = u + self.action(action)
            h = h + self.action(action)[:, None]

        index = self._nearest(p)
        relation, unit, weight = self._edges(p, motions, index)
        edge = relation
        for i, message in enumerate(self.message):
            sent = _senders(self.sender[i](h), index)
            edge = self.receiver[i](h)[:, :, None] + sent + self.relation[i](relation)
            edge = gelu(message(gelu(edge)))
            received = self.gather[i]((weight * edge).sum(2))  # linear, so it is cheaper after the sum
            context = u[:, None].expand(-1, n, -1)
            h = h + self.update[i](torch.cat([h, received, context], -1))
            u = u + self.background_update[i](torch.cat([u, (visible * h).sum(1) / (total + 1e-6)], -1))
        # Forces along and across the line between two particles, on top of what each makes of its messages.
        along, across = self.push(edge).chunk(2, -1)
        normal_to = torch.stack([-unit[..., 1], unit[..., 0]], -1)
        force = (weight * (along * unit + across * normal_to)).sum(2)
        return self._distribution(h, u, force, nodes)

    def _distribution(self, h: Tensor, u: Tensor, force: Tensor, nodes: _Nodes) -> SceneDistribution:
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

    def _nearest(self, p: Particles) -> Int[Tensor, "B N K"] | None:
        """The particles whose messages are read, or None for all."""
        k, n = self.cfg.neighbours, p.position.shape[1]
        if k == 0 or k >= n - 1:
            return None
        with torch.no_grad():
            distance = torch.cdist(p.position.float(), p.position.float())
            hidden = 1e3 * (1 - p.transparency.mT)  # what is switched off takes nobody's place
            eye = 1e6 * torch.eye(n, device=distance.device)
            return (distance + hidden + eye).topk(k, dim=-1, largest=False).indices

    def _edges(
        self, p: Particles, motions: Tensor, index: Tensor | None
    ) -> tuple[Float[Tensor, "B N K E"], Float[Tensor, "B N K 2"], Float[Tensor, "B N K 1"]]:
        """What a receiver sees of each sender, the direction to it, and how much its message counts."""
        k = self.n_edge_motions
        own = torch.cat([p.position, p.size, p.depth, rearrange(motions[:, :k], "b w n d -> b n (w d)")], -1)
        relative = _senders(own, index) - own[:, :, None]
        offset, moved = relative[..., :2], relative[..., 5:].unflatten(-1, (k, 2))
        distance = offset.square().sum(-1, keepdim=True).add(1e-8).sqrt()
        unit = offset / distance
        reach = 0.5 * (_senders(p.size, index) + p.size[:, :, None])
        # Motion along the line between them, and across it: collisions happen in these coordinates.
        along = (moved * unit[..., None, :]).sum(-1)
        across = moved[..., 0] * -unit[..., None, 1] + moved[..., 1] * unit[..., None, 0]
        relation = torch.cat(
            [offset, distance, 1 / (distance + 0.2), relative[..., 4:5], reach, distance - reach[..., :1],
             moved.flatten(-2), along, across], -1
        )  # fmt: skip
        weight = _senders(p.transparency, index).expand(*distance.shape)
        if index is None:
            weight = weight * (1 - torch.eye(p.position.shape[1], device=weight.device))[..., None]
        if self.cfg.radius > 0:
            weight = weight * (1 - (distance / self.cfg.radius).square()).clamp_min(0)
        return relation, unit, weight


def _senders(x: Float[Tensor, "B N D"], index: Int[Tensor, "B N K"] | None) -> Float[Tensor, "B N K D"]:
    if index is None:
        return x[:, None].expand(-1, x.shape[1], -1, -1)
    batch = torch.arange(len(x), device=x.device)[:, None, None]
    return x[batch, index]


def _std(log_std: Tensor) -> Tensor:
    return log_std.clamp(*_LOG_STD_RANGE).exp()


def _moved(last: Tensor, out: Tensor) -> Normal:
    change, log_std = out.chunk(2, -1)
    return Normal(last + change, _std(log_std), validate_args=False)
