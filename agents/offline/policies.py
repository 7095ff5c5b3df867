"""Networks that learn from data: policies on sets of entities or pictures, and IQL's values beside them."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float, Shaped
from stable_baselines3.common.torch_layers import NatureCNN
from torch import Tensor, nn

from agents.config import AgentConfig, FlowConfig
from agents.extractor import entities, entity_network, entity_space
from agents.networks import EntityConfig, EntityTransformer
from agents.pairs import EntityPairs
from dlp_dyn.nn import mlp

Seen = Shaped[Tensor, "B ..."]  # sets of entities (B, N, D), or pictures (B, C, H, W) of 0 to 255
Goals = Shaped[Tensor, "B ..."] | None


class Pictures(nn.Module):
    """SB3's convolutions for pictures, with weights of their own for those of the goal -> one vector."""

    def __init__(self, observations: spaces.Space, width: int) -> None:
        super().__init__()
        boxes = (
            observations.spaces if isinstance(observations, spaces.Dict) else {"observation": observations}
        )
        self.seen = NatureCNN(boxes["observation"], width)
        self.goal = NatureCNN(boxes["desired_goal"], width) if "desired_goal" in boxes else None
        self.out_dim = width * len(boxes)

    def forward(self, seen: Seen, goal: Goals) -> Float[Tensor, "B O"]:
        found = self.seen(seen.float() / 255)
        if self.goal is None:
            return found
        assert goal is not None
        return torch.cat([found, self.goal(goal.float() / 255)], -1)


Reader = EntityTransformer | EntityPairs | Pictures


class DataPolicy(nn.Module):
    """Actions for what is seen and goals; acts as policies of Stable-Baselines3 do. transformer: reads both."""

    def __init__(self, actions: spaces.Box) -> None:
        super().__init__()
        self.actions = actions
        self.action_dim = math.prod(actions.shape)

    def act(self, seen: Seen, goal: Goals) -> Float[Tensor, "B A"]:
        """Actions in [-1, 1], the same for the same observation."""
        raise NotImplementedError

    @torch.no_grad()
    def predict(self, observation: Any, deterministic: bool = True) -> tuple[np.ndarray, None]:  # noqa: ARG002
        """Actions in the environment's range, for a batch of observations."""
        device = next(self.parameters()).device
        if isinstance(observation, dict):
            tensors: Any = {
                key: torch.as_tensor(values, device=device) for key, values in observation.items()
            }
        else:
            tensors = torch.as_tensor(observation, device=device)
        chosen = self.act(*entities(tensors)).cpu().numpy().reshape(-1, *self.actions.shape)
        low, high = self.actions.low, self.actions.high
        return low + (chosen + 1) * (high - low) / 2, None


class Cloned(DataPolicy):
    """One action for each observation. head: widths of the perceptron behind what reads them."""

    def __init__(self, transformer: Reader, head: Sequence[int], actions: spaces.Box) -> None:
        super().__init__(actions)
        self.transformer = transformer
        self.head = mlp([transformer.out_dim, *head, self.action_dim], nn.ReLU)

    def act(self, seen: Seen, goal: Goals) -> Float[Tensor, "B A"]:
        return self.head(self.transformer(seen, goal)).tanh()


class Valued(Cloned):
    """A policy on sets with the values that it is weighed by: of states, and twin ones of actions with their slow
    copies."""

    def __init__(self, network: EntityConfig, observations: spaces.Space, actions: spaces.Box) -> None:
        super().__init__(entity_reader(network, observations), network.head, actions)
        dim, has_goal = entity_space(observations)
        self.value = _Value(network, dim, has_goal)
        self.critic = nn.ModuleList(_Value(network, dim, has_goal, self.action_dim) for _ in range(2))
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)

    def policy_parameters(self) -> tuple[nn.Parameter, ...]:
        return (*self.transformer.parameters(), *self.head.parameters())


class _Value(nn.Module):
    def __init__(
        self, network: EntityConfig, dim: int, has_goal: bool, action_dim: int | None = None
    ) -> None:
        super().__init__()
        self.transformer = entity_network(network, dim, has_goal=has_goal, action_dim=action_dim)
        self.head = mlp([self.transformer.out_dim, *network.head, 1], nn.ReLU)

    def forward(
        self, seen: Seen, goal: Goals, action: Float[Tensor, "B A"] | None = None
    ) -> Float[Tensor, " B"]:
        return self.head(self.transformer(seen, goal, action))[:, 0]


class Flow(DataPolicy):
    """Blocks of actions, carried from noise to what was demonstrated (flow matching, arXiv 2210.02747).

    What is seen is read once; a perceptron carries the block on from there. What is learnt is where the way ends; the
    velocity, which grows beyond all bounds towards the end, follows from it. Of the unfinished block as much is passed
    on as would be best if actions were independent and of one spread, so that the perceptron need not learn that
    (preconditioning, arXiv 2206.00364). Of a block the first action is played. To act, the flow starts from zeros, the
    middle of the noise, so that an observation has one action.
    """

    FREQUENCIES = 4
    SPREAD = 0.5  # of actions in [-1, 1]

    def __init__(
        self, transformer: Reader, head: Sequence[int], flow: FlowConfig, actions: spaces.Box
    ) -> None:
        super().__init__(actions)
        self.block, self.n_steps = flow.block, flow.steps
        self.size = self.block * self.action_dim
        self.transformer = transformer
        width = transformer.out_dim + self.size + 2 * self.FREQUENCIES
        self.head = mlp([width, *head, self.size], nn.ReLU)

    def read(self, seen: Seen, goal: Goals) -> Float[Tensor, "B O"]:
        """All that the way of a block depends on."""
        return self.transformer(seen, goal)

    def end(
        self, read: Float[Tensor, "B O"], unfinished: Float[Tensor, "B K"], time: Float[Tensor, " B"]
    ) -> Float[Tensor, "B K"]:
        """The block that one leads to which stands so at a time in [0, 1]."""
        angles = time[:, None] * math.pi * 2.0 ** torch.arange(self.FREQUENCIES, device=time.device)
        played, noise = time[:, None] * self.SPREAD, 1 - time[:, None]
        spread = (played.square() + noise.square()).sqrt()
        added = self.head(torch.cat([read, unfinished / spread, angles.sin(), angles.cos()], -1))
        return played * self.SPREAD / spread.square() * unfinished + noise * self.SPREAD / spread * added

    def act(self, seen: Seen, goal: Goals) -> Float[Tensor, "B A"]:
        read, block = self.read(seen, goal), seen.new_zeros(seen.shape[0], self.size)
        for left in range(self.n_steps, 0, -1):
            time = seen.new_full(seen.shape[:1], 1 - left / self.n_steps)
            block = torch.lerp(block, self.end(read, block, time), 1 / left)
        return block[:, : self.action_dim].clamp(-1, 1)


def entity_reader(network: EntityConfig, observations: spaces.Space) -> EntityTransformer | EntityPairs:
    """What reads sets. Raises InputError for a space without them."""
    dim, has_goal = entity_space(observations)
    return entity_network(network, dim, has_goal=has_goal)


def build(
    cfg: AgentConfig, network: EntityConfig, observations: spaces.Space, actions: spaces.Box
) -> DataPolicy:
    """The networks of `algorithm.kind`: bc, iql or flow."""
    if cfg.algorithm.kind == "iql":
        return Valued(network, observations, actions)
    pictures = cfg.network.kind == "cnn"
    head = cfg.network.flat if pictures else network.head
    reader = Pictures(observations, head[0]) if pictures else entity_reader(network, observations)
    if cfg.algorithm.kind == "flow":
        return Flow(reader, head, cfg.algorithm.flow, actions)
    return Cloned(reader, head, actions)
