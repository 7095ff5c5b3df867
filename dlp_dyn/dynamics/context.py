"""Which latent action led to each frame, and which may follow: the context module of LPWM."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from dlp_dyn.dynamics.actions import ActionInput
from dlp_dyn.dynamics.base import NOTHING, Conditions
from dlp_dyn.dynamics.blocks import INIT_STD
from dlp_dyn.dynamics.config import LatentActionConfig
from dlp_dyn.dynamics.factorised import FactorisedTrunk
from dlp_dyn.dynamics.grid_tokens import GridTokens
from dlp_dyn.dynamics.memory import Memory
from dlp_dyn.errors import InputError
from dlp_dyn.particles import Scene, normal


class Views(nn.Module):
    """Tokens of several views of a scene side by side, so that they attend to each other.

    The rows of a batch run over the views of a scene first. One view needs no parameters.
    """

    def __init__(self, n_views: int, dim: int) -> None:
        super().__init__()
        self.n_views = n_views
        self.view = nn.Parameter(INIT_STD * torch.randn(n_views, 1, 1, dim)) if n_views > 1 else None

    def mark(self, tokens: Float[Tensor, "R T N D"]) -> Float[Tensor, "R T N D"]:
        """Tell tokens which view they are of."""
        if self.view is None:
            return tokens
        return (tokens.unflatten(0, (-1, self.n_views)) + self.view).flatten(0, 1)

    def join(self, tokens: Float[Tensor, "R T N D"]) -> Float[Tensor, "B T K D"]:
        return rearrange(tokens, "(b v) t n d -> b t (v n) d", v=self.n_views)

    def split(self, tokens: Float[Tensor, "B T K D"]) -> Float[Tensor, "R T N D"]:
        return rearrange(tokens, "b t (v n) d -> (b v) t n d", v=self.n_views)


class ContextModule(nn.Module):
    """Latent actions of every particle and of the background (LPWM, arXiv 2603.04553).

    One causal trunk, two heads: of frame t, the posterior says what led to it from frame t - 1, the policy what may
    lead on to frame t + 1. Actions, a goal and a text steer the trunk, in any combination.
    """

    def __init__(
        self, cfg: LatentActionConfig, tokens: GridTokens, n_frames: int, action_dim: int, n_views: int
    ) -> None:
        super().__init__()
        dim, n_words = cfg.dim, cfg.language_length if cfg.language_dim else 0
        self.cfg, self.tokens, self.views = cfg, tokens, Views(n_views, dim)
        n_tokens = n_views * (len(tokens.centres) + 1) + n_words
        self.trunk = FactorisedTrunk(
            dim, cfg.context_layers, cfg.context_heads, cfg.dropout, n_frames, n_tokens
        )
        self.posterior, self.policy = (nn.Linear(dim, 2 * cfg.latent_dim) for _ in range(2))
        self.action = _steering(ActionInput(action_dim, dim), dim) if action_dim else None
        self.no_action = nn.Parameter(INIT_STD * torch.randn(action_dim)) if cfg.null_action else None
        self.goal = _steering(nn.Linear(dim, dim), dim) if cfg.goal else None
        self.word = nn.Linear(cfg.language_dim, dim) if cfg.language_dim else None
        self.word_kind = nn.Parameter(INIT_STD * torch.randn(dim)) if cfg.language_dim else None

    def forward(
        self,
        scene: Scene,
        conditions: Conditions = NOTHING,
        memory: Memory | None = None,
    ) -> tuple[Normal, Normal]:
        """Posterior and policy of all frames or, with the memory of a rollout, of the last one.

        conditions: `actions[:, t]` leaves frame t, and rows of NaN are not known.
        Raises InputError for conditions that the model was not made for, and for those that it needs and are missing.
        """
        n_frames = scene.background.shape[1]
        tokens = self.tokens(scene if memory is None else scene[:, -memory.missing(n_frames) :])
        condition = self._condition(conditions, n_frames, tokens.shape[-2])
        tokens = self.views.join(self.views.mark(tokens))
        n_particles = tokens.shape[2]
        words = self._words(conditions.language)
        if words is not None:
            tokens = torch.cat([tokens, words[:, None].expand(-1, tokens.shape[1], -1, -1)], 2)
            if condition is not None:  # words have none but their places
                condition = condition.expand(-1, -1, n_particles, -1)
                condition = nn.functional.pad(condition, (0, 0, 0, words.shape[1]))
        if memory is None:
            out = self.trunk(tokens, condition)
        else:
            out = self.trunk.resume(memory.extend(tokens, n_frames), condition, memory)
        out = self.views.split(out[:, :, :n_particles])
        posterior, policy = self.posterior(out), self.policy(out)
        return normal(*posterior.chunk(2, -1)), normal(*policy.chunk(2, -1))

    def _condition(
        self, conditions: Conditions, n_frames: int, n_tokens: int
    ) -> Float[Tensor, "B T _ D"] | None:
        """What steers the tokens of each frame, None where nothing does."""
        actions, goal = conditions.actions, conditions.goal
        parts: list[Tensor] = []
        if self.goal is not None:
            if goal is None:
                raise InputError("the model was trained with goals, and there is none: give a goal picture")
            parts.append(self.goal(self.tokens(goal))[:, None])
        elif goal is not None:
            raise InputError("a goal, but the model was trained without: leave it out")
        if self.action is not None and actions is not None:
            parts.append(self.action(self._known(actions))[:, :, None])
        if not parts:
            return None
        total = (parts[0] if len(parts) == 1 else parts[0] + parts[1]).expand(-1, n_frames, -1, -1)
        if self.views.n_views == 1:
            return total
        return self.views.join(total.expand(-1, -1, n_tokens, -1))

    def _known(self, actions: Float[Tensor, "R T A"]) -> Float[Tensor, "R T A"]:
        """Actions with the learned one in the place of those that are not known."""
        return actions if self.no_action is None else torch.where(actions.isnan(), self.no_action, actions)

    def _words(self, language: Float[Tensor, "B L E"] | None) -> Float[Tensor, "B L D"] | None:
        if self.word is None or self.word_kind is None:
            if language is not None:
                raise InputError("a text, but the model was trained without: leave it out")
            return None
        if language is None:
            raise InputError("the model was trained with texts, and there is none: give one")
        length, width = language.shape[-2:]
        if length > self.cfg.language_length or width != self.cfg.language_dim:
            raise InputError(
                f"a text of {length} tokens of width {width}, the model takes {self.cfg.language_length} of width "
                f"{self.cfg.language_dim}: shorten it, or use the text encoder that it was trained with"
            )
        return self.word(language) + self.word_kind


def _steering(layer: nn.Module, dim: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.RMSNorm(dim, eps=1e-8), nn.GELU())
