"""TD3's and SAC's policies on sets of entities; the critic's action is a token among them."""

import inspect
from typing import Any

import torch
from gymnasium import spaces
from jaxtyping import Float
from stable_baselines3.common.policies import BaseModel, ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from agents.extractor import EntityExtractor, check_objects, entities, entity_network, entity_space
from agents.networks import SMALL, EntityConfig, EntityTransformer
from agents.pairs import EntityPairs
from dlp_dyn.nn import mlp


class EntityCritic(ContinuousCritic):
    """Twin Q-functions of entities, goal and action, with nothing shared between them.

    With `values="each"` they tell a value of each of the goal's objects, which are the last entities, in its order.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        network: EntityConfig,
        n_critics: int,
    ) -> None:
        # Not ContinuousCritic's own, whose perceptrons take features beside the action.
        BaseModel.__init__(self, observation_space, action_space)
        dim, has_goal = entity_space(observation_space)
        action_dim = get_action_dim(action_space)
        self.n_critics = n_critics
        networks = [
            entity_network(network, dim, has_goal=has_goal, action_dim=action_dim) for _ in range(n_critics)
        ]
        self.transformers = nn.ModuleList(networks)
        self.each = network.values == "each"
        if self.each:
            check_objects(observation_space)
        own = network.dim if self.each else 0
        self.heads = nn.ModuleList(mlp([own + net.out_dim, *network.head, 1], nn.ReLU) for net in networks)

    def forward(self, obs: Tensor | dict[str, Tensor], actions: Float[Tensor, "B A"]) -> tuple[Tensor, ...]:
        """Of each Q-function (B, 1), or (B, K) of K objects."""
        return tuple(self._values(i, obs, actions) for i in range(self.n_critics))

    def q1_forward(
        self, obs: Tensor | dict[str, Tensor], actions: Float[Tensor, "B A"]
    ) -> Float[Tensor, "B 1"]:
        return self._values(0, obs, actions).mean(1, keepdim=True)

    def _values(
        self, i: int, obs: Tensor | dict[str, Tensor], actions: Float[Tensor, "B A"]
    ) -> Float[Tensor, "B K"]:
        network = self.transformers[i]
        assert isinstance(network, EntityTransformer | EntityPairs)
        seen, goal = entities(obs)
        own, read = network.entities_and_set(seen, goal, actions)
        if not self.each:
            return self.heads[i](read)
        assert goal is not None
        n = goal.shape[1]
        return self.heads[i](torch.cat([own[:, -n:], read[:, None].expand(-1, n, -1)], -1)).squeeze(-1)


class EntityTD3Policy(TD3Policy):
    """For `GoalTD3` and `TD3`: `policy_kwargs={"network": EntityConfig(...)}`."""

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        network: EntityConfig = SMALL,
        n_critics: int = 2,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.network = network
        super().__init__(
            observation_space, action_space, lr_schedule, net_arch=list(network.head), n_critics=n_critics,
            features_extractor_class=EntityExtractor, features_extractor_kwargs={"network": network},
            optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs,
        )  # fmt: skip

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> EntityCritic:
        assert features_extractor is None, "actor and critic share nothing"
        n_critics = self.critic_kwargs["n_critics"]
        return EntityCritic(self.observation_space, self.action_space, self.network, n_critics).to(
            self.device
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return _arguments(self, super()._get_constructor_parameters())


class EntitySACPolicy(SACPolicy):
    """For `SAC`: `policy_kwargs={"network": EntityConfig(...)}`."""

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        network: EntityConfig = SMALL,
        n_critics: int = 2,
        use_sde: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.network = network
        super().__init__(
            observation_space, action_space, lr_schedule, net_arch=list(network.head), n_critics=n_critics,
            features_extractor_class=EntityExtractor, features_extractor_kwargs={"network": network},
            use_sde=use_sde, optimizer_class=optimizer_class, optimizer_kwargs=optimizer_kwargs,
        )  # fmt: skip

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> EntityCritic:
        assert features_extractor is None, "actor and critic share nothing"
        n_critics = self.critic_kwargs["n_critics"]
        return EntityCritic(self.observation_space, self.action_space, self.network, n_critics).to(
            self.device
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return _arguments(self, super()._get_constructor_parameters())


def _arguments(policy: EntityTD3Policy | EntitySACPolicy, saved: dict[str, Any]) -> dict[str, Any]:
    """Of what SB3 saves to build a policy again, that which ours takes, and the sizes of its network."""
    taken = inspect.signature(type(policy)).parameters
    return {name: value for name, value in saved.items() if name in taken} | {"network": policy.network}
