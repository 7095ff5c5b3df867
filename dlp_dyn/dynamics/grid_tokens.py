"""A scene on the particle grid as tokens, and tokens as a distribution over the next scene (LPWM)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.nn import mlp, zero_last
from dlp_dyn.particles import FAINT, ParticleDistribution, Scene, SceneDistribution, gated_beta, logit, normal

"""Transparency above which a particle shows its attributes to the others (LPWM, official code)."""
_PIECE = 32  # width of an embedded attribute
_PARTICLE_FRACTION = 0.75  # of a glimpse's side, that predictions start at
_OFFSET_STD, _SCALE_STD = 0.1, 0.2  # of predictions at initialisation


def embedding(in_dim: int, dim: int, out_dim: int) -> nn.Sequential:
    """Linear, norm, GELU, linear."""
    return nn.Sequential(
        nn.Linear(in_dim, dim), nn.RMSNorm(dim, eps=1e-8), nn.GELU(), nn.Linear(dim, out_dim)
    )


class GridTokens(nn.Module):
    """M particles, one a patch, and the background as M + 1 tokens (LPWM, arXiv 2603.04553).

    Of particles that are off, learned constants stand for all but the transparency. Where a particle comes from, its
    patch and how far it is from there, is an attribute like the others.
    """

    centres: Tensor

    def __init__(
        self,
        feature_dim: int,
        background_dim: int,
        dim: int,
        centres: Float[Tensor, "M 2"],
        hidden_std: float,
    ) -> None:
        super().__init__()
        self.register_buffer("centres", centres, persistent=False)
        widths = {
            "position": 2,
            "scale": 2,
            "transparency": 1,
            "depth": 1,
            "features": feature_dim,
            "origin": 4,
        }
        self.attributes = nn.ModuleDict({k: embedding(n, dim, _PIECE) for k, n in widths.items()})
        self.particle = embedding(_PIECE * len(widths), dim, dim)
        self.background = embedding(background_dim, dim, dim)
        self.hidden = nn.ParameterDict(
            {
                "position": torch.full((2,), 2.0),
                "scale": torch.full((2,), 0.1),
                "depth": hidden_std * torch.randn(1),
                "features": hidden_std * torch.randn(feature_dim),
                "origin": torch.full((4,), 2.0),
            }
        )
        self.particle_kind, self.background_kind = (nn.Parameter(0.02 * torch.randn(dim)) for _ in range(2))

    def forward(self, scene: Scene) -> Float[Tensor, "*B N D"]:
        """The last token is the background's."""
        p = scene.particles
        centres = self.centres.expand_as(p.position)
        values = {
            "position": p.position,
            "scale": p.scale,
            "transparency": p.transparency,
            "depth": p.depth,
            "features": p.features,
            "origin": torch.cat([centres, p.position - centres], -1),
        }
        on = p.transparency > FAINT
        pieces = [
            layer(torch.where(on, values[k], self.hidden[k]) if k in self.hidden else values[k])
            for k, layer in self.attributes.items()
        ]
        particles = self.particle(torch.cat(pieces, -1)) + self.particle_kind
        background = self.background(scene.background) + self.background_kind
        return torch.cat([particles, background[..., None, :]], -2)


class GridHeads(nn.Module):
    """Tokens -> a distribution over the next scene; positions start at the patches' centres, the rest anywhere."""

    centres: Tensor

    def __init__(
        self,
        feature_dim: int,
        background_dim: int,
        dim: int,
        centres: Float[Tensor, "M 2"],
        glimpse_fraction: float,
    ) -> None:
        super().__init__()
        self.register_buffer("centres", centres, persistent=False)
        widths = {"position": 4, "scale": 4, "transparency": 1, "depth": 2, "features": 2 * feature_dim}
        self.heads = nn.ModuleDict({k: mlp([dim, dim, n]) for k, n in widths.items()})
        self.background = mlp([dim, dim, 2 * background_dim])
        expected = logit(_PARTICLE_FRACTION * glimpse_fraction, 1e-5)
        zero_last(self.heads["position"], [0.0, 0.0] + [2 * math.log(_OFFSET_STD)] * 2)  # pyright: ignore[reportArgumentType]
        zero_last(self.heads["scale"], [expected, expected] + [2 * math.log(_SCALE_STD)] * 2)  # pyright: ignore[reportArgumentType]

    def forward(self, tokens: Float[Tensor, "*B N D"]) -> SceneDistribution:
        """The last token is the background's."""
        out = {name: head(tokens[..., :-1, :]).float() for name, head in self.heads.items()}
        offset, offset_log_variance = out["position"].chunk(2, -1)
        return SceneDistribution(
            ParticleDistribution(
                position=normal(self.centres + offset.tanh(), offset_log_variance),
                scale=normal(*out["scale"].chunk(2, -1)),
                depth=normal(*out["depth"].chunk(2, -1)),
                transparency=gated_beta(out["transparency"]),
                features=normal(*out["features"].chunk(2, -1)),
            ),
            normal(*self.background(tokens[..., -1, :]).chunk(2, -1)),
        )
