"""LatentActionDynamics: particles of a patch grid, moved by latent actions of their own (LPWM, arXiv 2603.04553)."""

from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.dynamics.actions import ActionInput
from dlp_dyn.dynamics.base import NOTHING, Conditions, Dynamics, LatentActions, Prediction, Step
from dlp_dyn.dynamics.config import LatentActionConfig
from dlp_dyn.dynamics.context import ContextModule, Views
from dlp_dyn.dynamics.factorised import FactorisedTrunk
from dlp_dyn.dynamics.grid_tokens import GridHeads, GridTokens
from dlp_dyn.dynamics.memory import Memory
from dlp_dyn.dynamics.packed import linear
from dlp_dyn.errors import InputError
from dlp_dyn.particles import Draw, Scene, SceneDistribution, mean, rsample
from dlp_dyn.tree import tree_map

_CONTEXT_STD, _DYNAMICS_STD = 0.2, 0.02  # of what stands for invisible particles' looks, at initialisation


@dataclass
class LatentState:
    """What the steps of a rollout hand on. latent: `latent[:, t]` leaves frame t of the window, as far as known."""

    latent: Float[Tensor, "R K N L"]
    context: Memory = field(default_factory=Memory)
    dynamics: Memory = field(default_factory=Memory)


class DynamicsModule(nn.Module):
    """Scenes and the latent actions that leave them -> distributions over the scenes after them."""

    def __init__(
        self, cfg: LatentActionConfig, tokens: GridTokens, heads: GridHeads, n_frames: int, n_views: int
    ) -> None:
        super().__init__()
        self.tokens, self.heads, self.views = tokens, heads, Views(n_views, cfg.dim)
        self.latent = nn.Linear(cfg.latent_dim, cfg.dim)
        n_tokens = n_views * (len(tokens.centres) + 1)
        self.trunk = FactorisedTrunk(
            cfg.dim, cfg.dynamics_layers, cfg.dynamics_heads, cfg.dropout, n_frames, n_tokens
        )

    def forward(
        self,
        scene: Scene,
        latent: Float[Tensor, "R T N L"],
        memory: Memory | None = None,
    ) -> SceneDistribution:
        """After all frames or, with the memory of a rollout, the last one. latent: `latent[:, t]` leaves frame t."""
        n_frames = scene.background.shape[1]
        fresh = scene if memory is None else scene[:, -memory.missing(n_frames) :]
        tokens = self.views.join(self.views.mark(self.tokens(fresh)))
        condition = self.views.join(F.gelu(self.latent(latent)))
        if memory is None:
            return self.heads(self.views.split(self.trunk(tokens, condition)))
        out = self.trunk.resume(memory.extend(tokens, n_frames), condition, memory)
        return self.heads(self.views.split(out))


class LatentActionDynamics(Dynamics):
    """A stochastic world model of a particle grid (LPWM, arXiv 2603.04553).

    All that is random are the latent actions, one for every particle and one for the background; given them, the next
    frame is the mean. The context module knows one frame more than the `window` that a step looks back on.
    """

    random = True

    def __init__(
        self,
        cfg: LatentActionConfig,
        feature_dim: int,
        background_dim: int,
        centres: Float[Tensor, "M 2"],
        window: int,
        glimpse_fraction: float,
        action_dim: int = 0,
        n_views: int = 1,
    ) -> None:
        super().__init__()
        self.window = window

        def tokens(hidden_std: float) -> GridTokens:
            return GridTokens(feature_dim, background_dim, cfg.dim, centres, hidden_std)

        self.context = ContextModule(cfg, tokens(_CONTEXT_STD), window + 1, action_dim, n_views)
        heads = GridHeads(feature_dim, background_dim, cfg.dim, centres, glimpse_fraction)
        self.dynamics = DynamicsModule(cfg, tokens(_DYNAMICS_STD), heads, window, n_views)

    @property
    def action(self) -> ActionInput | None:
        """What takes the environment's actions in."""
        return None if self.context.action is None else cast(ActionInput, self.context.action[0])

    def forward(self, scenes: Scene, conditions: Conditions = NOTHING, sample: Draw = rsample) -> Prediction:
        """Of frames 0 .. U, U at most `window`: distributions of frames 1 .. U, and the latent actions that lead there.

        sample: of the posterior, which sees the frame that a latent action leads to.
        """
        n_frames = scenes.background.shape[1]
        posterior, policy = self.context(scenes, conditions.between(0, n_frames))
        drawn = sample(posterior)[:, 1:]
        latent = LatentActions(
            drawn, tree_map(lambda x: x[:, :-1], policy), tree_map(lambda x: x[:, 1:], posterior)
        )
        return Prediction(self.dynamics(scenes[:, :-1], drawn), latent=latent)

    @torch.no_grad()
    def infer(self, scenes: Scene, conditions: Conditions = NOTHING) -> Float[Tensor, "R T N L"]:
        """The mean latent actions between the frames of a clip of any length; `[:, t]` leaves frame t.

        Each is told from the frame it leads to and the `window` frames before that.
        """
        most = self.window + 1
        found = [self.context(scenes[:, :most], conditions.between(0, most))[0].mean[:, 1:]]
        for end in range(most + 1, scenes.background.shape[1] + 1):
            first = end - most
            posterior, _ = self.context(
                scenes[:, first:end], conditions.between(first, end), Memory(linear=linear)
            )
            found.append(posterior.mean)
        return torch.cat(found, 1)

    def start(
        self,
        scenes: Scene,
        conditions: Conditions = NOTHING,
        latent: Float[Tensor, "R K N L"] | None = None,
    ) -> LatentState:
        """The state of a rollout that goes on from the last of these frames.

        latent: from the first frame on; those that reach beyond the last frame are used before the policy is asked.
        None infers those between the frames.
        Raises InputError for fewer than lead from frame to frame.
        """
        n_frames = scenes.background.shape[1]
        first = 0
        if latent is None:
            first = max(
                n_frames - 2 * self.window + 1, 0
            )  # the window's first latent action sees so far back
            latent = self.infer(scenes[:, first:], conditions.between(first, n_frames))
        elif latent.shape[1] < n_frames - 1:
            raise InputError(
                f"{latent.shape[1]} latent actions for {n_frames} frames: give the {n_frames - 1} between them, or more"
            )
        return LatentState(latent[:, max(n_frames - self.window, 0) - first :])

    def step(self, scenes: Scene, conditions: Conditions, state: LatentState, sample: Draw = mean) -> Step:
        """Of the frame after the last, moved by the latent actions in the state or, beyond them, by the policy's.

        Keys and values are reused while the window grows. When it slides, frames get other places in it, and tokens
        alone are. sample: of the policy; given latent actions, the mean follows.
        """
        n_frames = scenes.background.shape[1]
        known, policy = state.latent, None
        if state.dynamics.tokens is not None and state.dynamics.tokens.shape[1] == n_frames:
            known = known[:, 1:]
        if known.shape[1] < n_frames:
            _, policy = self.context(scenes, conditions, state.context)
            known = torch.cat([known, sample(policy)], 1)
        state.latent = known
        latent = known[:, :n_frames]
        following = self.dynamics(scenes, latent, state.dynamics)[:, 0]
        return Step(following, LatentActions(latent[:, -1:], policy), drawn=following.mean)
