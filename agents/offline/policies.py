"""Networks that learn from data: policies on sets of entities, and IQL's values beside them."""

import copy
import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from torch import Tensor, nn

from agents.config import AgentConfig, FlowConfig
from agents.extractor import entities, entity_network, entity_space
from agents.networks import EntityConfig
from dlp_dyn.nn import mlp

Sets = Float[Tensor, "B N D"]
Goals = Float[Tensor, "B M D"] | None


class EntityPolicy(nn.Module):
    """Actions for sets of entities and goals; acts as policies of Stable-Baselines3 do."""

    def __init__(self, observations: spaces.Space, actions: spaces.Box) -> None:
        super().__init__()
        self.entity_dim, self.has_goal = entity_space(observations)
        self.actions = actions
        self.action_dim = math.prod(actions.shape)

    def act(self, seen: Sets, goal: Goals) -> Float[Tensor, "B A"]:
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


class Cloned(EntityPolicy):
    """One action for each observation."""

    def __init__(self, network: EntityConfig, observations: spaces.Space, actions: spaces.Box) -> None:
        super().__init__(observations, actions)
        self.transformer = entity_network(network, self.entity_dim, has_goal=self.has_goal)
        self.head = mlp([network.dim, *network.head, self.action_dim], nn.ReLU)

    def act(self, seen: Sets, goal: Goals) -> Float[Tensor, "B A"]:
        return self.head(self.transformer(seen, goal)).tanh()


class Valued(Cloned):
    """A policy with the values that it is weighed by: of states, and twin ones of actions with their slow copies."""

    def __init__(self, network: EntityConfig, observations: spaces.Space, actions: spaces.Box) -> None:
        super().__init__(network, observations, actions)
        self.value = _Value(network, self.entity_dim, self.has_goal)
        self.critic = nn.ModuleList(
            _Value(network, self.entity_dim, self.has_goal, self.action_dim) for _ in range(2)
        )
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
        self, seen: Sets, goal: Goals, action: Float[Tensor, "B A"] | None = None
    ) -> Float[Tensor, " B"]:
        return self.head(self.transformer(seen, goal, action))[:, 0]


class Flow(EntityPolicy):
    """Blocks of actions, carried from noise to what was demonstrated (flow matching, arXiv 2210.02747).

    The unfinished block and its time are one more token among the entities. What is learnt is where the way ends; the
    velocity, which grows beyond all bounds towards the end, follows from it. Of a block the first action is played. To
    act, the flow starts from zeros, the middle of the noise, so that an observation has one action.
    """

    FREQUENCIES = 4

    def __init__(
        self, network: EntityConfig, flow: FlowConfig, observations: spaces.Space, actions: spaces.Box
    ) -> None:
        super().__init__(observations, actions)
        self.block, self.n_steps = flow.block, flow.steps
        self.size = self.block * self.action_dim
        token = self.size + 2 * self.FREQUENCIES
        self.transformer = entity_network(network, self.entity_dim, has_goal=self.has_goal, action_dim=token)
        self.head = mlp([self.transformer.out_dim, *network.head, self.size], nn.ReLU)

    def end(
        self, seen: Sets, goal: Goals, unfinished: Float[Tensor, "B K"], time: Float[Tensor, " B"]
    ) -> Float[Tensor, "B K"]:
        """The block that one leads to which stands so at a time in [0, 1]."""
        angles = time[:, None] * math.pi * 2.0 ** torch.arange(self.FREQUENCIES, device=time.device)
        token = torch.cat([unfinished, angles.sin(), angles.cos()], -1)
        return self.head(self.transformer(seen, goal, token))

    def act(self, seen: Sets, goal: Goals) -> Float[Tensor, "B A"]:
        block = seen.new_zeros(seen.shape[0], self.size)
        for left in range(self.n_steps, 0, -1):
            time = seen.new_full(seen.shape[:1], 1 - left / self.n_steps)
            block = torch.lerp(block, self.end(seen, goal, block, time), 1 / left)
        return block[:, : self.action_dim].clamp(-1, 1)


def build(
    cfg: AgentConfig, network: EntityConfig, observations: spaces.Space, actions: spaces.Box
) -> EntityPolicy:
    """The networks of `algorithm.kind`: bc, iql or flow."""
    if cfg.algorithm.kind == "flow":
        return Flow(network, cfg.algorithm.flow, observations, actions)
    return {"bc": Cloned, "iql": Valued}[cfg.algorithm.kind](network, observations, actions)
