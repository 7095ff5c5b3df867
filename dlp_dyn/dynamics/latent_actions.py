"""LatentActionDynamics: particles of a patch grid, moved by latent actions of their own (LPWM, arXiv 2603.04553)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.dynamics.config import LatentActionConfig
from dlp_dyn.dynamics.context import ContextModule, Views
from dlp_dyn.dynamics.factorised import FactorisedTrunk
from dlp_dyn.dynamics.grid_tokens import GridHeads, GridTokens
from dlp_dyn.dynamics.memory import Memory
from dlp_dyn.dynamics.packed import linear
from dlp_dyn.particles import Scene, SceneDistribution

_CONTEXT_STD, _DYNAMICS_STD = 0.2, 0.02  # of what stands for invisible particles' looks, at initialisation


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
        last_only: bool = False,
    ) -> SceneDistribution:
        """Of the frames that memory does not know, or of the last one only. latent: `latent[:, t]` leaves frame t."""
        memory = memory or Memory(linear=linear)
        n_frames = scene.background.shape[1]
        tokens = self.views.mark(self.tokens(scene[:, -memory.missing(n_frames) :]))
        condition = self.views.join(F.gelu(self.latent(latent)))
        out = self.trunk(memory.extend(self.views.join(tokens), n_frames), condition, memory, last_only)
        return self.heads(self.views.split(out))


class LatentActionDynamics(nn.Module):
    """A stochastic world model of a particle grid (LPWM, arXiv 2603.04553)."""

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
