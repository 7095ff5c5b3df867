"""Which dynamics a config asks for: the only place that knows all families."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from dlp_dyn.dynamics.base import Dynamics
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.dynamics.graph import GraphDynamics
from dlp_dyn.dynamics.latent_actions import LatentActionDynamics
from dlp_dyn.dynamics.latent_graph import LatentGraphDynamics
from dlp_dyn.dynamics.transformer import TransformerDynamics
from dlp_dyn.errors import InputError


@dataclass(frozen=True)
class SceneForm:
    """What dynamics have to know of the scenes that they move.

    centres: of the patches, where every particle belongs to one. glimpse_fraction: of the image side.
    """

    n_particles: int
    feature_dim: int
    background_dim: int
    glimpse_fraction: float
    n_views: int = 1
    centres: Float[Tensor, "N 2"] | None = None


def build_dynamics(cfg: DynamicsConfig, form: SceneForm) -> Dynamics:
    """Raises InputError for a config that no model can be made from."""
    cfg.check()
    if cfg.kind == "graph":
        return GraphDynamics(cfg, form.feature_dim, form.background_dim)
    if cfg.kind == "latent_graph":
        return LatentGraphDynamics(cfg, form.feature_dim, form.background_dim)
    if cfg.kind == "transformer":
        return TransformerDynamics(cfg, form.n_particles, form.feature_dim, form.background_dim)
    if cfg.kind == "latent_actions":
        if form.centres is None:
            raise InputError(
                "dynamics.kind=latent_actions moves every patch's particle: set tracking.kind to grid"
            )
        return LatentActionDynamics(
            cfg.latent_actions,
            form.feature_dim,
            form.background_dim,
            form.centres,
            cfg.window,
            form.glimpse_fraction,
            cfg.action_dim,
            form.n_views,
        )
    raise InputError("dynamics.kind=none makes no video model: use graph or transformer")
