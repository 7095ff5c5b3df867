"""The objective of LPWM: a clip's evidence lower bound with latent actions (arXiv 2603.04553)."""

from jaxtyping import Float
from torch import Tensor

from dlp_dyn.clip import Clip
from dlp_dyn.dynamics.base import Conditions, Prediction
from dlp_dyn.objectives import terms
from dlp_dyn.objectives.clip_elbo import ClipElbo
from dlp_dyn.objectives.config import LatentWeights


class LatentActionElbo(ClipElbo):
    """As `ClipElbo`, with dynamics that follow latent actions of the posterior, which the policy learns to expect.

    In the first `static_steps` steps all frames but the last two keep the constant priors.
    """

    Weights = LatentWeights

    def static_frames(self, n_frames: int, step: int) -> int:
        first = super().static_frames(n_frames, step)
        return max(n_frames - 2, first) if step <= self.schedule.static_steps else first

    def conditions(self, clip: Clip) -> Conditions:
        """A goal is known by its particles' means; none of it is learned to be drawn."""
        video = clip.goal_video
        goal = None if video is None else self.model.encode(video)[0].scene[:, 0]
        return Conditions(clip.actions, goal, clip.language)

    def latent_terms(self, prediction: Prediction) -> dict[str, Float[Tensor, "B U"]]:
        latent = prediction.latent
        assert latent is not None
        assert latent.posterior is not None
        assert latent.policy is not None
        return {"dynamic_latent": terms.kl_normal(latent.posterior, latent.policy).sum(-1)}
