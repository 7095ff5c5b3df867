"""Scene <-> tokens: the embedding that transformers read, and the heads that give a distribution over scenes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from dlp_dyn.nn import mlp
from dlp_dyn.particles import ParticleDistribution, Scene, SceneDistribution, beta, normal

_FIELDS = ("position", "scale", "transparency", "depth", "features")


class SceneTokens(nn.Module):
    """N particles and the background as N + 1 tokens (DDLP, arXiv 2306.05957, section 4.2).

    Each attribute goes through a perceptron back to its own width, then all of them together through another.
    """

    def __init__(self, feature_dim: int, background_dim: int, dim: int) -> None:
        super().__init__()
        widths = dict(zip(_FIELDS, (2, 2, 1, 1, feature_dim), strict=True))
        self.attributes = nn.ModuleDict({k: mlp([n, dim, n], nn.ReLU) for k, n in widths.items()})
        self.particle = mlp([sum(widths.values()), dim, dim], nn.ReLU)
        self.background = mlp([background_dim, dim, dim], nn.ReLU)

    def forward(self, scene: Scene) -> Float[Tensor, "*B N D"]:
        pieces = [layer(getattr(scene.particles, name)) for name, layer in self.attributes.items()]
        particles = self.particle(torch.cat(pieces, -1))
        return torch.cat([particles, self.background(scene.background)[..., None, :]], dim=-2)


class SceneHeads(nn.Module):
    """Tokens -> a distribution over the next scene, as changes of the last one; transparency is new each time.

    Log-variances are raw. depth_logvar_is_delta: see `TransformerConfig`.
    """

    def __init__(
        self, feature_dim: int, background_dim: int, dim: int, depth_logvar_is_delta: bool = False
    ) -> None:
        super().__init__()
        self.depth_logvar_is_delta = depth_logvar_is_delta
        self.trunk = nn.Sequential(mlp([dim, dim, dim], nn.ReLU), nn.ReLU())
        widths = {"position": 4, "scale": 4, "transparency": 2, "depth": 2, "features": 2 * feature_dim}
        self.heads = nn.ModuleDict({k: nn.Linear(dim, n) for k, n in widths.items()})
        self.background = nn.Linear(dim, 2 * background_dim)

    def forward(self, tokens: Float[Tensor, "*B M D"], last: Scene) -> SceneDistribution:
        """The last token is the background's."""
        tokens = self.trunk(tokens)
        out = {name: head(tokens[..., :-1, :]).float() for name, head in self.heads.items()}
        p = last.particles
        delta, log_variance = out["position"].chunk(2, -1)
        depth_delta, depth_log_variance = out["depth"].chunk(2, -1)
        if self.depth_logvar_is_delta:
            depth_log_variance = depth_delta
        a, b = out["transparency"].clamp_max(20).exp().clamp_min(1e-5).chunk(2, -1)
        return SceneDistribution(
            ParticleDistribution(
                position=normal(p.position + delta.tanh(), log_variance),
                scale=_moved(p.scale, out["scale"]),
                depth=normal(p.depth + depth_delta, depth_log_variance),
                transparency=beta(a, b),
                features=_moved(p.features, out["features"]),
            ),
            _moved(last.background, self.background(tokens[..., -1, :])),
        )


def _moved(last: Tensor, out: Tensor) -> Normal:
    delta, log_variance = out.chunk(2, -1)
    return normal(last + delta, log_variance)
