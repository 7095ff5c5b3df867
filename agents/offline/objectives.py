"""What agents that learn from data minimise."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from agents.config import AgentConfig
from agents.offline.data import Steps
from agents.offline.policies import Cloned, DataPolicy, Flow, Valued
from dlp_dyn.objectives.base import Losses, Objective, Update

MOST = 100.0  # how much a step may weigh


class BehaviourCloning(Objective):
    """Squared distance to the actions that were played."""

    @dataclass(frozen=True)
    class Weights:
        action: float = 1.0

    model: Cloned

    def forward(self, batch: Steps, update: str = "model", step: int = 1) -> Losses:  # noqa: ARG002
        return Losses(
            {"action": _distance(self.model.act(batch.observation, batch.goal), batch.actions[:, 0])}, {}
        )


class FlowMatching(Objective):
    """Squared distance of the end of the straight line from noise to the block that was played.

    Actions after the end of an episode do not count.
    """

    @dataclass(frozen=True)
    class Weights:
        block: float = 1.0

    model: Flow

    def forward(self, batch: Steps, update: str = "model", step: int = 1) -> Losses:  # noqa: ARG002
        played = batch.actions.flatten(1)
        noise, time = torch.randn_like(played), torch.rand(len(played), device=played.device)
        unfinished = torch.lerp(noise, played, time[:, None])
        found = self.model.end(self.model.read(batch.observation, batch.goal), unfinished, time)
        gap = (found - played).square().unflatten(1, batch.actions.shape[1:])
        inside = batch.inside.float()
        return Losses({"block": (gap.mean(-1) * inside).sum(1) / inside.sum(1)}, {})


class ImplicitQ(Objective):
    """IQL (arXiv 2110.06169): values by expectile regression, and cloning weighed by advantages.

    The value of a state is an upper expectile of the values of the actions that were played there, so actions that
    were never played are never asked for. Goals of other episodes teach values what is far; the policy does not learn
    from them: of a state and a goal there is one action, whose advantage is about 0 wherever it leads (as HIQL draws
    its goals, arXiv 2307.11949).
    """

    @dataclass(frozen=True)
    class Weights:
        value: float = 1.0
        critic: float = 1.0
        action: float = 1.0

    model: Valued

    def __init__(self, model: Valued, expectile: float, temperature: float, gamma: float, tau: float) -> None:
        super().__init__(model)
        self.expectile, self.temperature, self.gamma, self.tau = expectile, temperature, gamma, tau

    def updates(self) -> tuple[Update, ...]:
        model = self.model
        return (
            Update("value", tuple(model.value.parameters())),
            Update("critic", tuple(model.critic.parameters())),
            Update("policy", model.policy_parameters()),
        )

    def terms(self, update: str) -> tuple[str, ...]:
        return ({"policy": "action"}.get(update, update),)

    def forward(self, batch: Steps, update: str = "model", step: int = 1) -> Losses:  # noqa: ARG002
        model, played = self.model, batch.actions[:, 0]
        if update == "critic":
            with torch.no_grad():
                later = model.value(batch.next_observation, batch.goal)
                target = batch.reward + self.gamma * (1 - batch.done) * later
            found = [critic(batch.observation, batch.goal, played) for critic in model.critic]
            return Losses({"critic": (torch.stack(found) - target).square().sum(0)}, {"target": target})
        with torch.no_grad():
            values = [critic(batch.observation, batch.goal, played) for critic in model.slow_critic]
            worth = torch.minimum(*values)
        if update == "value":
            gap = worth - model.value(batch.observation, batch.goal)
            return Losses(
                {"value": torch.where(gap > 0, self.expectile, 1 - self.expectile) * gap.square()}, {}
            )
        with torch.no_grad():
            advantage = worth - model.value(batch.observation, batch.goal)
            weight = (self.temperature * advantage).exp().clamp_max(MOST)
            weight = weight * batch.led / batch.led.float().mean().clamp_min(1e-6)
        chosen = model.act(batch.observation, batch.goal)
        return Losses({"action": weight * _distance(chosen, played)}, {"advantage": advantage})

    @torch.no_grad()
    def follow(self) -> None:
        """The slow copies of the critics move a little towards them."""
        for slow, now in zip(
            self.model.slow_critic.parameters(), self.model.critic.parameters(), strict=True
        ):
            slow.lerp_(now, self.tau)


def build(cfg: AgentConfig, model: DataPolicy) -> Objective:
    """The objective of `algorithm.kind`: bc, iql or flow."""
    algorithm = cfg.algorithm
    if isinstance(model, Flow):
        return FlowMatching(model)
    if isinstance(model, Valued):
        iql = algorithm.iql
        return ImplicitQ(model, iql.expectile, iql.temperature, algorithm.gamma, algorithm.tau)
    return BehaviourCloning(model)


def _distance(a: Float[Tensor, "B A"], b: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
    return F.mse_loss(a, b, reduction="none").mean(1)
