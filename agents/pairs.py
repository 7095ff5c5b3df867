"""EntityPairs: what the entity interaction transformer is for, from pairs of entities; cheap where there are few."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from agents.networks import ON, EntityConfig, check_mask, present_rows


class EntityPairs(nn.Module):
    """Entities, the entities of a goal and an action -> one vector, whatever the order and number of entities.

    An entity finds its goal by attention. Its own columns, its goal's and the action meet each other entity's in one
    layer, so that what lies between two of them is a sum of inputs; of all others the strongest answer counts, not
    the mean, which would fade as they become more. A softmax over entities reads out: it can choose one to act on.
    """

    def __init__(
        self, cfg: EntityConfig, entity_dim: int, *, has_goal: bool, action_dim: int | None = None
    ) -> None:
        super().__init__()
        check_mask(cfg, entity_dim)
        self.mask_column, self.has_goal, self.n_heads = cfg.mask_column, has_goal, cfg.n_heads
        self.hard = cfg.matching == "hard"
        self.out_dim = cfg.dim
        own = entity_dim * (2 if has_goal else 1) + (action_dim or 0)
        self.query = nn.Linear(entity_dim, cfg.dim) if has_goal else None
        self.key = nn.Linear(entity_dim, cfg.dim, bias=False) if has_goal else None
        self.meet_own = nn.Linear(own, cfg.dim)
        self.meet_other = nn.Linear(entity_dim, cfg.dim, bias=False)
        self.own = nn.Linear(own, cfg.dim)
        self.met = nn.Linear(cfg.dim, cfg.dim, bias=False)
        self.entity = nn.Linear(cfg.dim, cfg.dim)
        self.score = nn.Linear(cfg.dim, cfg.n_heads, bias=False)
        self.out = nn.Linear(cfg.dim, cfg.dim)

    def forward(
        self,
        entities: Float[Tensor, "B N D"],
        goal: Float[Tensor, "B M D"] | None = None,
        action: Float[Tensor, "B A"] | None = None,
    ) -> Float[Tensor, "B O"]:
        return self.entities_and_set(entities, goal, action)[1]

    def entities_and_set(
        self,
        entities: Float[Tensor, "B N D"],
        goal: Float[Tensor, "B M D"] | None = None,
        action: Float[Tensor, "B A"] | None = None,
    ) -> tuple[Float[Tensor, "B K H"], Float[Tensor, "B O"]]:
        """Of each entity that may be present, and of all."""
        entities = present_rows(entities, self.mask_column)
        goal = None if goal is None else present_rows(goal, self.mask_column)
        absent, parts = self._absent(entities), [entities]
        if self.has_goal:
            assert goal is not None
            shares = _shares(self._alike(entities, goal), self._absent(goal))
            parts.append((_chosen(shares) if self.hard else shares) @ goal)
        if action is not None:
            parts.append(action[:, None].expand(-1, entities.shape[1], -1))
        own = torch.cat(parts, -1)
        meetings = (self.meet_own(own)[:, :, None] + self.meet_other(entities)[:, None]).relu()
        if absent is not None:
            meetings = meetings.masked_fill(absent[:, None, :, None], 0.0)
        x = self.entity((self.own(own) + self.met(meetings.amax(2))).relu()).relu()
        shares = _shares(self.score(x).mT, absent)
        read = shares @ x
        size = self.out_dim // self.n_heads
        read = torch.cat([read[:, h, h * size : (h + 1) * size] for h in range(self.n_heads)], -1)
        return x, self.out(read).relu()

    def matching_error(
        self, entities: Float[Tensor, "B N D"], goal: Float[Tensor, "B M D"]
    ) -> Float[Tensor, " B"]:
        """Cross-entropy of finding each goal in its own row, where rows of entities and goals are of the same things.

        Goals are of the last entities, in their order. Mean over things that are present in both; 0 where none is.
        """
        m = goal.shape[1]
        own, absent = entities[:, -m:], self._absent(goal)
        alike = self._alike(own, goal)
        known = alike.new_ones(alike.shape[:2])
        if absent is not None:
            alike = alike.masked_fill(absent[:, None], -1e9)
            known = (~absent & (own[..., self.mask_column] >= ON)).to(alike)
        error = -alike.log_softmax(-1).diagonal(dim1=1, dim2=2)
        return (error * known).sum(1) / known.sum(1).clamp_min(1)

    def _alike(
        self, entities: Float[Tensor, "B K D"], goal: Float[Tensor, "B M D"]
    ) -> Float[Tensor, "B K M"]:
        assert self.query is not None
        assert self.key is not None
        return self.query(entities) @ self.key(goal).mT / self.out_dim**0.5

    def _absent(self, entities: Float[Tensor, "B N D"]) -> Bool[Tensor, "B N"] | None:
        return None if self.mask_column is None else entities[..., self.mask_column] < ON


def _chosen(shares: Float[Tensor, "B K N"]) -> Float[Tensor, "B K N"]:
    """All to the one with the largest share, none to any where all are zero; the gradient is that of shares
    (straight-through, arXiv 1308.3432)."""
    most = F.one_hot(shares.argmax(-1), shares.shape[-1]).to(shares) * (shares.sum(-1, keepdim=True) > 0)
    return most + shares - shares.detach()


def _shares(scores: Float[Tensor, "B K N"], absent: Bool[Tensor, "B N"] | None) -> Float[Tensor, "B K N"]:
    """Softmax over those that are there; zeros where none is."""
    if absent is None:
        return scores.softmax(-1)
    gone = absent[:, None]
    return scores.masked_fill(gone, -1e9).softmax(-1).masked_fill(gone, 0.0)
