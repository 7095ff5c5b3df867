"""EntityPairs: what the entity interaction transformer is for, from pairs of entities; cheap where there are few."""

import torch
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
        entities = present_rows(entities, self.mask_column)
        goal = None if goal is None else present_rows(goal, self.mask_column)
        absent, parts = self._absent(entities), [entities]
        if self.query is not None and self.key is not None:
            assert goal is not None
            alike = self.query(entities) @ self.key(goal).mT / self.out_dim**0.5
            parts.append(_shares(alike, self._absent(goal)) @ goal)
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
        return self.out(read).relu()

    def _absent(self, entities: Float[Tensor, "B N D"]) -> Bool[Tensor, "B N"] | None:
        return None if self.mask_column is None else entities[..., self.mask_column] < ON


def _shares(scores: Float[Tensor, "B K N"], absent: Bool[Tensor, "B N"] | None) -> Float[Tensor, "B K N"]:
    """Softmax over those that are there; zeros where none is."""
    if absent is None:
        return scores.softmax(-1)
    gone = absent[:, None]
    return scores.masked_fill(gone, -1e9).softmax(-1).masked_fill(gone, 0.0)
