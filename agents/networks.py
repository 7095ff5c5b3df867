"""The entity interaction transformer (ECRL, arXiv 2404.01220): entities attend to one another and to the goal's."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from agents.attention import Attention
from dlp_dyn.errors import InputError
from dlp_dyn.nn import mlp
from dlp_dyn.settings import Count, Natural, check

ON = 0.5  # an entity whose mask column is below is absent
_INIT_STD = 0.02


@dataclass(frozen=True)
class EntityConfig:
    """Sizes of actor and critic."""

    interaction: Literal["attention", "pairs"] = "attention"
    """How entities meet: by `attention`, ECRL's, or every two of them in a layer (`pairs`), a third of the time where
    there are few."""
    dim: Count = 64
    """Width of the entities, a multiple of n_heads."""
    n_heads: Count = 4
    """Heads of attention."""
    n_layers: Count = 1
    """Pairs of self-attention and attention to the goal, before the last self-attention."""
    hidden: tuple[Count, ...] = (128,)
    """widths: the perceptron in every block."""
    head: tuple[Count, ...] = (256, 256)
    """widths: the perceptron behind the readout."""
    matching: Literal["soft", "hard"] = "soft"
    """How an entity of `pairs` finds its goal: a mean of all goals, weighed by attention (`soft`), or the one that gets
    the most (`hard`), as it is; a mean is off by more than what counts as reached."""
    values: Literal["set", "each"] = "set"
    """What a critic tells: one value of the `set`, or one of `each` object, whose mean counts and which learns from
    what becomes of its own object; of states, with TD3."""
    mask_column: Natural | None = None
    """A column: an entity's transparency, below half of which it is absent; null takes all as present. Set by
    itself for particles."""

    def __post_init__(self) -> None:
        check(self, "network.entity")
        if self.dim % self.n_heads:
            raise InputError(
                f"network: dim is {self.dim} with {self.n_heads} heads; give a dim that n_heads divides"
            )
        if self.matching == "hard" and self.interaction != "pairs":
            raise InputError("network: matching is hard, which is of pairs; give interaction=pairs")


SMALL = EntityConfig()


class Block(nn.Module):
    """Pre-norm attention and perceptron, both residual; tokens attend to a context, or to one another."""

    def __init__(self, cfg: EntityConfig, *, cross: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(cfg.dim)
        self.norm_context = nn.LayerNorm(cfg.dim) if cross else None
        self.attention = Attention(cfg.dim, cfg.n_heads)
        self.norm_mlp = nn.LayerNorm(cfg.dim)
        self.mlp = mlp([cfg.dim, *cfg.hidden, cfg.dim], nn.ReLU)

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        context: Float[Tensor, "B N D"] | None = None,
        mask: Bool[Tensor, "B N"] | None = None,
    ) -> Float[Tensor, "B L D"]:
        """`mask` is true where the context, or x itself, may be looked at; where nothing may, nothing is added."""
        if context is not None:
            assert self.norm_context is not None
            context = self.norm_context(context)
        x = x + self.attention(self.norm(x), context, mask)
        return x + self.mlp(self.norm_mlp(x))


def check_mask(cfg: EntityConfig, entity_dim: int) -> None:
    """Raise InputError for a mask in a column that entities do not have."""
    if cfg.mask_column is not None and cfg.mask_column >= entity_dim:
        raise InputError(
            f"network: mask_column is {cfg.mask_column}, entities have {entity_dim} columns, counted from 0"
        )


def present_rows(entities: Float[Tensor, "B N D"], mask_column: int | None) -> Float[Tensor, "B K D"]:
    """As many rows as are present in the fullest set, those first that are: absent ones change nothing and take time.

    What is exported keeps all, since K depends on the values.
    """
    if mask_column is None or torch.compiler.is_compiling():
        return entities
    absent = entities[..., mask_column] < ON
    k = max(1, int((~absent).sum(1).max()))
    return entities.take_along_dim(absent.to(torch.int8).argsort(dim=1, stable=True)[:, :k, None], 1)


class EntityTransformer(nn.Module):
    """Entities, the entities of a goal and an action -> one vector, whatever the order and number of entities.

    A critic's action is one more token, which attends and is attended to, and is read out beside the set.
    """

    def __init__(
        self, cfg: EntityConfig, entity_dim: int, *, has_goal: bool, action_dim: int | None = None
    ) -> None:
        super().__init__()
        check_mask(cfg, entity_dim)
        self.mask_column = cfg.mask_column
        self.out_dim = cfg.dim if action_dim is None else 2 * cfg.dim
        self.embed = nn.Linear(entity_dim, cfg.dim)
        self.embed_goal = nn.Linear(entity_dim, cfg.dim) if has_goal else None
        self.embed_action = None if action_dim is None else mlp([action_dim, 4 * cfg.dim, cfg.dim], nn.ReLU)
        crosses = [False, True] if has_goal else [False]
        self.blocks = nn.ModuleList(Block(cfg, cross=c) for c in [*crosses * cfg.n_layers, False])
        self.readout_query = nn.Parameter(_INIT_STD * torch.randn(cfg.dim))
        self.readout = Block(cfg, cross=True)
        self.norm = nn.LayerNorm(cfg.dim)
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
        x, mask = self.embed(entities), self._present(entities)
        query = self.readout_query.expand(x.shape[0], 1, -1)
        if self.embed_action is not None:
            assert action is not None
            x = torch.cat([self.embed_action(action)[:, None], x], 1)
            if mask is not None:
                mask = F.pad(mask, (1, 0), value=True)
        context, goal_mask = None, None
        if self.embed_goal is not None:
            assert goal is not None
            context, goal_mask = self.embed_goal(goal), self._present(goal)
        for block in self.blocks:
            assert isinstance(block, Block)
            x = block(x, None, mask) if block.norm_context is None else block(x, context, goal_mask)
        if self.embed_action is not None:
            query = torch.cat([query, x[:, :1]], 1)
        read = self.out(self.norm(self.readout(query, x, mask))).flatten(1)
        return x if self.embed_action is None else x[:, 1:], read

    def _present(self, entities: Float[Tensor, "B N D"]) -> Bool[Tensor, "B N"] | None:
        return None if self.mask_column is None else entities[..., self.mask_column] >= ON
