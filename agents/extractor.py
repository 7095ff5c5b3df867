"""EntityExtractor: a set of entities as features for any policy of Stable-Baselines3."""

import gymnasium as gym
from jaxtyping import Float
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from agents.networks import SMALL, EntityConfig, EntityTransformer
from agents.pairs import EntityPairs
from dlp_dyn.errors import InputError


class EntityExtractor(BaseFeaturesExtractor):
    """Reads `Box (N, D)`, or `observation` (N, D) and `desired_goal` (M, D) of a Dict; other keys are not looked at.

    For PPO: `policy_kwargs={"features_extractor_class": EntityExtractor, "features_extractor_kwargs": {"network":
    EntityConfig(...)}}`. Raises InputError for a space that holds no sets.
    """

    def __init__(self, observation_space: gym.Space, network: EntityConfig = SMALL) -> None:
        super().__init__(observation_space, network.dim)
        dim, has_goal = entity_space(observation_space)
        self.transformer = entity_network(network, dim, has_goal=has_goal)

    def forward(self, observations: Tensor | dict[str, Tensor]) -> Float[Tensor, "B O"]:
        return self.transformer(*entities(observations))


def entity_network(
    cfg: EntityConfig, entity_dim: int, *, has_goal: bool, action_dim: int | None = None
) -> EntityTransformer | EntityPairs:
    """The network of `network.entity`, of actors, or with an action of critics."""
    kind = {"attention": EntityTransformer, "pairs": EntityPairs}[cfg.interaction]
    return kind(cfg, entity_dim, has_goal=has_goal, action_dim=action_dim)


def entities(observations: Tensor | dict[str, Tensor]) -> tuple[Float[Tensor, "B N D"], Tensor | None]:
    """Entities and those of the goal, if there is one."""
    if isinstance(observations, Tensor):
        return observations.float(), None
    goal = observations.get("desired_goal")
    return observations["observation"].float(), None if goal is None else goal.float()


def entity_space(space: gym.Space) -> tuple[int, bool]:
    """Columns of an entity, and whether there are goals.

    Raises InputError for a space without sets, and for goals whose entities have other columns.
    """
    if not isinstance(space, gym.spaces.Dict):
        return _columns(space, "the observation"), False
    if "observation" not in space.spaces:
        raise InputError(
            f"observation space has keys {', '.join(space)}; the set is looked for in 'observation'"
        )
    dim = _columns(space["observation"], "'observation'")
    if "desired_goal" not in space.spaces:
        return dim, False
    goal_dim = _columns(space["desired_goal"], "'desired_goal'")
    if goal_dim != dim:
        raise InputError(
            f"entities of 'observation' have {dim} columns, those of 'desired_goal' {goal_dim}: give one layout"
        )
    return dim, True


def check_objects(space: gym.Space) -> None:
    """Raise InputError for a space without goals, or with more of them than entities, whose last ones they are of."""
    goals = space.spaces.get("desired_goal") if isinstance(space, gym.spaces.Dict) else None
    if goals is None or goals.shape is None:
        raise InputError(
            "network.entity.values is each, and there are no goals; give network.entity.values=set"
        )
    assert isinstance(space, gym.spaces.Dict)
    seen = space["observation"].shape
    assert seen is not None
    if goals.shape[0] > seen[0]:
        raise InputError(
            f"network.entity.values is each: {goals.shape[0]} goals, but {seen[0]} entities; give "
            "network.entity.values=set"
        )


def _columns(space: gym.Space, name: str) -> int:
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 2:
        found = space.shape if isinstance(space, gym.spaces.Box) else type(space).__name__
        raise InputError(f"{name} is {found}, not a set of entities: give a Box (N, D)")
    return space.shape[1]
