"""GoalTD3: TD3 with what ECRL adds to it for goals that are reached from pixels."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from stable_baselines3 import TD3
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from agents.pairs import EntityPairs
from dlp_dyn.nn.private import lerp_
from dlp_dyn.settings import Count, Fraction, NonNegative, at_least, check


@dataclass(frozen=True)
class Exploration:
    """With probability `epsilon` a uniform action, else the policy's with Gaussian noise of width `sigma`.

    Actions are counted in [-1, 1]. Uniform ones that are held for a while cross the world and touch what lies there,
    where new ones at every step tremble on the spot (epsilon-z-greedy, arXiv 2006.01782).
    """

    epsilon: Fraction = 0.3
    """Share of uniform actions."""
    sigma: NonNegative = 0.2
    """Width of the noise on the others."""
    hold: Count = 1
    """Steps that a uniform action is held, on average; the share of uniform actions stays `epsilon`."""
    final: NonNegative = 0.5
    """Both fall linearly to this fraction of what they were."""
    decay_from: Annotated[int, at_least(0, "environment steps")] = 0
    """When they begin to fall."""
    decay_to: Annotated[int, at_least(0, "environment steps")] = 0
    """When they have fallen; 0 keeps them as they are."""

    def __post_init__(self) -> None:
        check(self, "exploration")

    def factor(self, step: int) -> float:
        """By how much `epsilon` and `sigma` are multiplied after that many environment steps."""
        if not self.decay_to:
            return 1.0
        passed = (step - self.decay_from) / max(1, self.decay_to - self.decay_from)
        return 1 - (1 - self.final) * min(max(passed, 0.0), 1.0)


class GoalTD3(TD3):
    """TD3 (arXiv 1802.09477) with the extras of ECRL (arXiv 2404.01220); with their defaults it is SB3's TD3.

    action_l2: weight of the squared action in the actor's loss.
    q_range: target values are clipped to it; for rewards in [-1, 0] the truth lies in [-1 / (1 - gamma), 0].
    lower_bound: target values are no less than what the episode went on to get (optimality tightening, arXiv
    1611.01606). Where nothing is left to chance, rewards lie in [-1, 0] and what is reached stays, a goal that was
    reached k steps later is worth -(1 - gamma^(k - 1)) / (1 - gamma) at least. For `GoalReplayBuffer`.
    target_update: `step` moves the target networks with each actor update, `cycle` once a call of `train`, which
    with `gradient_steps` in the hundreds makes them far steadier.
    imitation: weight of the squared distance to the actions in the replay buffer in the actor's loss, where values
    are divided by their mean size (TD3+BC, arXiv 2106.06860, whose alpha is 1 / weight); for buffers that begin with
    good play. It falls linearly to 0 at `imitation_until` environment steps; 0: it does not fall.
    identity: weight of the cross-entropy of finding each relabelled goal in its own row (`EntityPairs.matching_error`),
    in the losses of critic and actor. For `GoalReplayBuffer` and policies of pairs, and rows that follow things.
    exploration: in place of `action_noise`.
    """

    def __init__(
        self,
        policy: str | type[TD3Policy],
        env: GymEnv | str | None,
        *,
        action_l2: float = 0.0,
        q_range: tuple[float, float] | None = None,
        lower_bound: bool = False,
        target_update: Literal["step", "cycle"] = "step",
        imitation: float = 0.0,
        imitation_until: int = 0,
        identity: float = 0.0,
        exploration: Exploration | None = None,
        **kwargs: Any,
    ) -> None:
        self.action_l2, self.q_range, self.lower_bound = action_l2, q_range, lower_bound
        self.target_update, self.exploration = target_update, exploration
        self.imitation, self.imitation_until, self.identity = imitation, imitation_until, identity
        self.held: Float[np.ndarray, "E A"] | None = (
            None  # uniform actions that go on; NaN where there is none
        )
        super().__init__(policy, env, **kwargs)  # pyright: ignore[reportArgumentType]  # None while loading

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer])
        names = ("train/critic_loss", "train/actor_loss", "train/q", "train/mismatch")
        logged: dict[str, list[Tensor]] = {name: [] for name in names}
        for _ in range(gradient_steps):
            self._n_updates += 1
            assert self.replay_buffer is not None
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            target = self._target(batch)
            values = self.critic(batch.observations, batch.actions)
            loss = torch.stack([F.mse_loss(value, target) for value in values]).sum()
            mismatch = self._mismatch(self.critic, batch)
            _descend(self.critic.optimizer, loss + mismatch)
            logged["train/critic_loss"].append(loss.detach())
            if self.identity:
                logged["train/mismatch"].append(mismatch.detach() / (self.identity * len(values)))
            logged["train/q"].append(values[0].detach().mean())
            if self._n_updates % self.policy_delay == 0:
                logged["train/actor_loss"].append(self._improve_actor(batch))
                if self.target_update == "step":
                    self._move_targets()
        if self.target_update == "cycle":
            self._move_targets()
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name, values in logged.items():
            if values:
                self.logger.record(name, torch.stack(values).mean().item())

    @torch.no_grad()
    def _target(self, batch: Any) -> Float[Tensor, "B K"]:
        """Of the set, or of each object; the smaller one of the two critics' values."""
        noise = (self.target_policy_noise * torch.randn_like(batch.actions)).clamp(
            -self.target_noise_clip, self.target_noise_clip
        )
        following = batch.next_observations
        next_actions = (self.actor_target(following) + noise).clamp(-1, 1)
        value = torch.stack(self.critic_target(following, next_actions)).amin(0)
        target = batch.rewards + (1 - batch.dones) * self.gamma * value
        if self.q_range is not None:
            target = target.clamp(*self.q_range)
        if self.lower_bound:
            least = -(1 - self.gamma ** (batch.steps - 1)) / (1 - self.gamma)
            target = torch.maximum(target, least)  # of each object, whose own goal was reached by then
        return target

    def _mismatch(self, networks: nn.Module, batch: Any) -> Tensor:
        """What `identity` adds to the loss of actor or critic."""
        total = batch.actions.new_zeros(())
        if not self.identity:
            return total
        seen, goal = (batch.observations[key][batch.same_rows] for key in ("observation", "desired_goal"))
        errors = [
            net.matching_error(seen, goal) for net in networks.modules() if isinstance(net, EntityPairs)
        ]
        return self.identity * torch.stack(errors).mean(1).sum() if len(seen) else total

    def _improve_actor(self, batch: Any) -> Tensor:
        observations, taken = batch.observations, batch.actions
        actions = self.actor(observations)
        self.critic.requires_grad_(False)  # only the action's gradient is wanted
        value = self.critic.q1_forward(observations, actions)
        loss = -value.mean() + self.action_l2 * actions.square().mean()
        if weight := self._imitation_weight():
            size = value.detach().abs().mean()
            loss = loss + weight * size * (actions - taken).square().sum(1).mean()
        _descend(self.actor.optimizer, loss + self._mismatch(self.actor, batch))
        self.critic.requires_grad_(True)
        return loss.detach()

    def _imitation_weight(self) -> float:
        if not self.imitation_until:
            return self.imitation
        return self.imitation * max(0.0, 1 - self.num_timesteps / self.imitation_until)

    @torch.no_grad()
    def _move_targets(self) -> None:
        for net, target in ((self.critic, self.critic_target), (self.actor, self.actor_target)):
            lerp_(list(target.parameters()), list(net.parameters()), self.tau)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        action, scaled = super()._sample_action(learning_starts, action_noise, n_envs)
        if self.exploration is None or self.num_timesteps < learning_starts:
            return action, scaled
        factor = self.exploration.factor(self.num_timesteps)
        noisy = scaled + factor * self.exploration.sigma * np.random.standard_normal(scaled.shape)
        uniform = self._uniform(factor * self.exploration.epsilon, scaled.shape)
        scaled = np.where(np.isnan(uniform), noisy.clip(-1, 1), uniform).astype(np.float32)
        return self.policy.unscale_action(scaled), scaled

    def _uniform(self, share: float, shape: tuple[int, ...]) -> Float[np.ndarray, "E A"]:
        """Uniform actions where they are played, NaN elsewhere."""
        assert self.exploration is not None
        if self.held is None or self.held.shape != shape:
            self.held = np.full(shape, np.nan)
        hold = self.exploration.hold
        ends = np.random.random(shape[0]) < 1 / hold
        self.held[ends] = np.nan
        # So that a share of the steps is uniform, not of the decisions.
        begins = np.isnan(self.held[:, 0]) & (
            np.random.random(shape[0]) < share / (hold * (1 - share) + share)
        )
        drawn = np.random.uniform(-1, 1, shape)
        self.held[begins] = drawn[begins]
        return self.held


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
