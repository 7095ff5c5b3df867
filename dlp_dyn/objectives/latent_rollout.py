"""The second stage of dynamics with latent actions: rollouts that follow what the posterior saw happen."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.clip import SceneClip
from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.dynamics.latent_graph import Ahead, LatentGraphDynamics
from dlp_dyn.dynamics.rollout import unroll
from dlp_dyn.objectives.config import LatentRolloutWeights
from dlp_dyn.objectives.rollout import RolloutError, step_terms
from dlp_dyn.objectives.terms import kl_normal
from dlp_dyn.particles import rsample
from dlp_dyn.tree import stack, tree_map


class LatentRolloutError(RolloutError):
    """As `RolloutError`, with latent actions of the posterior, which the policy learns to expect."""

    Weights = LatentRolloutWeights

    def measure(self) -> Callable[..., dict[str, Float[Tensor, " B"]]]:
        return latent_rollout_terms


def latent_rollout_terms(
    dynamics: LatentGraphDynamics, clip: SceneClip, n_context: int, n_steps: int, unit: float
) -> dict[str, Float[Tensor, " B"]]:
    """Those of `rollout_terms`, and rollout_latent: the KL of the latent actions that were followed to the policy.

    The posterior is told the true frames, the policy is asked in the scenes that the rollout has come to. Asked in the
    true ones it would know what the rollout was not told, and whatever happened could be told for nothing a frame
    later. Particles count as they are visible, the background as one of them.
    """
    end = n_context + n_steps
    seen, conditions = clip.scene[:, :end], Conditions(clip.actions)
    posterior = tree_map(lambda x: x[:, 1:], dynamics.heads(seen, conditions, n_context - 1)[0])
    state = Ahead(rsample(posterior), ask=True)
    steps = list(unroll(dynamics, seen[:, :n_context], n_steps, conditions, state=state))
    latent = [step.latent for step in steps if step.latent is not None]
    policies = [each.policy for each in latent if each.policy is not None]
    kl = kl_normal(posterior, stack(policies, 1))
    visible = seen.particles.transparency[:, n_context:, :, 0]
    share = visible / visible.sum(-1, keepdim=True).clamp_min(1)
    share = torch.cat([share, torch.ones_like(share[..., :1])], -1)
    return step_terms(steps, clip, n_context, unit) | {"rollout_latent": (share * kl).sum(-1).mean(1)}
