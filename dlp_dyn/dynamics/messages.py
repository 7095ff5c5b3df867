"""Messages among the particles of a frame: the trunk of the graph networks (Battaglia et al. 2016)."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu

from dlp_dyn.dynamics.actions import ActionInput
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.nn import mlp
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.tree import TensorTree

_EDGE_MOTIONS = 3  # of the last motions, how many the edges compare


@dataclass(frozen=True)
class Nodes(TensorTree):
    """Particles with their recent motion. motions: newest first, in motion units, 0 where unknown."""

    particles: Particles
    motions: Float[Tensor, "*B W N 2"]
    known: Bool[Tensor, "*B W"]
    background: Float[Tensor, "*B G"]


@dataclass(frozen=True)
class Told:
    """What the particles of a frame have told each other: states, and what the last message of each pair said.

    edge: of receivers and their senders. unit: the direction to the sender. weight: how much it counts.
    """

    particles: Float[Tensor, "B N D"]
    background: Float[Tensor, "B D"]
    edge: Float[Tensor, "B N K D"]
    unit: Float[Tensor, "B N K 2"]
    weight: Float[Tensor, "B N K 1"]


def nodes_of_all(scenes: Scene, window: int, unit: float) -> Nodes:
    """Of every frame of clips, each with the motions of the `window` frames that end with it, over (B, T)."""
    p = scenes.particles
    b, t = p.position.shape[:2]
    motion = p.position.diff(dim=1) / unit
    motions, known = [], []
    for lag in range(window - 1):
        moved = motion[:, : max(t - 1 - lag, 0)]
        motions.append(
            torch.cat([p.position.new_zeros(b, t - moved.shape[1], *p.position.shape[2:]), moved], 1)
        )
        known.append(torch.arange(t, device=motion.device) > lag)
    return Nodes(p, torch.stack(motions, 2), torch.stack(known, 1).expand(b, -1, -1), scenes.background)


def nodes_of_last(scenes: Scene, window: int, unit: float) -> Nodes:
    """Of the last frame of clips."""
    p = scenes.particles
    motion = p.position[:, -window:].diff(dim=1).flip(1) / unit
    b, found, n = motion.shape[:3]
    missing = motion.new_zeros(b, window - 1 - found, n, 2)
    known = torch.arange(window - 1, device=motion.device) < found
    return Nodes(p[:, -1], torch.cat([motion, missing], 1), known.expand(b, -1), scenes.background[:, -1])


class MessagePassing(nn.Module):
    """Layers with which particles send messages to each other. Equivariant to their order, fit for any number.

    Messages count as much as their sender is visible. latent_dim: width of the latent actions that are added to what
    particles are; 0 is none.
    """

    def __init__(
        self, cfg: DynamicsConfig, feature_dim: int, background_dim: int, action_dim: int, latent_dim: int = 0
    ) -> None:
        super().__init__()
        g, hidden = cfg.graph, cfg.graph.hidden_dim
        self.cfg = g
        n_motions = cfg.window - 1
        self.n_edge_motions = min(_EDGE_MOTIONS, n_motions)
        node_dim = 2 + 2 + 1 + 1 + feature_dim + 3 * n_motions
        edge_dim = 8 + 4 * self.n_edge_motions
        self.node_in = mlp([node_dim, hidden, hidden])
        self.background_in = mlp([background_dim + 2, hidden, hidden])
        self.action = ActionInput(action_dim, hidden) if action_dim else None
        self.latent = mlp([latent_dim, hidden, hidden]) if latent_dim else None
        self.receiver, self.sender, self.relation = (
            nn.ModuleList(nn.Linear(n, hidden, bias=bias) for _ in range(g.rounds))
            for n, bias in ((hidden, True), (hidden, False), (edge_dim, False))
        )
        self.message = nn.ModuleList(mlp([hidden, hidden]) for _ in range(g.rounds))
        self.gather = nn.ModuleList(mlp([hidden, hidden]) for _ in range(g.rounds))
        self.update = nn.ModuleList(mlp([3 * hidden, hidden, hidden]) for _ in range(g.rounds))
        self.background_update = nn.ModuleList(mlp([2 * hidden, hidden, hidden]) for _ in range(g.rounds))

    def tell(
        self, nodes: Nodes, action: Float[Tensor, "B A"] | None, latent: Float[Tensor, "B M L"] | None = None
    ) -> Told:
        """States of frames after all rounds. latent: of every particle, and then of the background."""
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

        if self.latent is not None:
            assert latent is not None
            moved = self.latent(latent)
            h, u = h + moved[:, :-1], u + moved[:, -1]

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
        return Told(h, u, edge, unit, weight)

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
