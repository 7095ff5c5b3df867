"""The second stage of dynamics with latent actions: rollouts that follow what the posterior saw happen."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.clip import SceneClip
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.dynamics.latent_graph import Ahead, LatentGraphDynamics
from dlp_dyn.objectives.config import LatentRolloutWeights
from dlp_dyn.objectives.rollout import RolloutError, rollout_terms
from dlp_dyn.objectives.terms import kl_normal
from dlp_dyn.particles import rsample
from dlp_dyn.tree import tree_map


class LatentRolloutError(RolloutError):
    """As `RolloutError`, with latent actions of the posterior, which the policy learns to expect."""

    Weights = LatentRolloutWeights

    def measure(self) -> Callable[..., dict[str, Float[Tensor, " B"]]]:
        return latent_rollout_terms


def latent_rollout_terms(
    dynamics: LatentGraphDynamics, clip: SceneClip, n_context: int, n_steps: int, unit: float
) -> dict[str, Float[Tensor, " B"]]:
    """Those of `rollout_terms`, and rollout_latent: the KL of the latent actions that were followed to the policy.

    The posterior is told the true frames; particles count as they are visible, the background as one of them.
    """
    end = n_context + n_steps
    seen = clip.scene[:, :end]
    posterior, policy = dynamics.heads(seen, Conditions(clip.actions), n_context - 1)
    posterior = tree_map(lambda x: x[:, 1:], posterior)
    policy = tree_map(lambda x: x[:, :-1], policy)
    terms = rollout_terms(dynamics, clip, n_context, n_steps, unit, Ahead(rsample(posterior)))
    kl = kl_normal(posterior, policy)
    visible = seen.particles.transparency[:, n_context:, :, 0]
    share = visible / visible.sum(-1, keepdim=True).clamp_min(1)
    share = torch.cat([share, torch.ones_like(share[..., :1])], -1)
    return terms | {"rollout_latent": (share * kl).sum(-1).mean(1)}
