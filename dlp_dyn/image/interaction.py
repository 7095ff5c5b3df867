"""The interaction encoder of DLPv3: what a particle is, given all the others (LPWM, arXiv 2603.04553)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from dlp_dyn.geometry import patch_centres
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.networks.base import Networks
from dlp_dyn.nn import AttentionBlock, mlp, zero_last
from dlp_dyn.particles import normal

_PIECE = 32  # width of every embedded attribute
_GATE = 0.2  # transparency below which a particle's attributes are replaced by learned constants
_FEATURE_LOG_STD = math.log(0.001)  # at initialisation


def _embed(in_dim: int, hidden: int, out_dim: int, norm: bool = True) -> nn.Sequential:
    norm_layer = nn.RMSNorm(hidden, eps=1e-8) if norm else nn.Identity()
    return nn.Sequential(nn.Linear(in_dim, hidden), norm_layer, nn.GELU(), nn.Linear(hidden, out_dim))


class InteractionEncoder(nn.Module):
    """Tokens of particles, background and image attend to each other; depth and residuals of features come out.

    On LPWM's grid every patch has a token of its own and its particle tells how far it is from there; the rows of a
    batch run over the views of a scene first.

    A norm over the embedding of a single number would remove that number, so transparency and confidence are
    embedded without one unless `compat.scalar_norm` asks for the official way.
    """

    centres: Tensor

    def __init__(self, cfg: DLPConfig, networks: Networks) -> None:
        super().__init__()
        width = cfg.networks.hidden_dim
        scalar_norm = cfg.compat.scalar_norm
        self.embed_position = _embed(2, width, _PIECE)
        self.embed_scale = _embed(2, width, _PIECE)
        self.embed_features = _embed(cfg.feature_dim, width, _PIECE)
        self.embed_transparency = _embed(1, width, _PIECE, scalar_norm)
        self.embed_confidence = _embed(1, width, _PIECE, scalar_norm)
        self.grid, self.views = cfg.encoder.grid, cfg.encoder.views
        self.embed_particle = _embed((6 if self.grid else 5) * _PIECE, width, width)
        self.embed_background = _embed(cfg.background_dim, width, width)
        self.image = networks.image_encoder(init_std=0.02)
        self.to_token = nn.Conv2d(self.image.channels, width // self.image.side**2, 1)
        self.hidden_position = nn.Parameter(torch.full((2,), 2.0))
        self.hidden_scale = nn.Parameter(torch.full((2,), 0.1))
        self.hidden_features = nn.Parameter(0.2 * torch.randn(cfg.feature_dim))
        self.token_offsets = nn.ParameterDict(
            {name: 0.2 * torch.randn(width) for name in ("particle", "background", "image", "all")}
        )
        if self.grid:
            self.register_buffer("centres", patch_centres(cfg.image_size, cfg.patch_size), persistent=False)
            self.embed_origin = _embed(4, width, _PIECE)
            self.hidden_origin = nn.Parameter(torch.full((4,), 2.0))
            self.token_offsets["particle"] = 0.2 * torch.randn(cfg.n_patches, width)
        if self.views > 1:
            self.token_offsets["view"] = 0.2 * torch.randn(self.views, 1, width)
        self.blocks = nn.Sequential(
            *[
                AttentionBlock(width, cfg.encoder.interaction_heads)
                for _ in range(cfg.encoder.interaction_layers)
            ]
        )
        self.norm = nn.RMSNorm(width, eps=1e-8)
        self.out = nn.Linear(width, width, bias=False)
        spread = 2 * _FEATURE_LOG_STD
        self.depth = mlp([width, width, 2])
        f, g = cfg.feature_dim, cfg.background_dim
        self.features = zero_last(mlp([width, width, 2 * f]), [0.0] * f + [spread] * f)
        self.background = zero_last(mlp([width, width, 2 * g]), [0.0] * g + [spread] * g)

    def forward(
        self,
        images: Float[Tensor, "B 3 H W"],
        position: Float[Tensor, "B N 2"],
        scale: Float[Tensor, "B N 2"],
        transparency: Float[Tensor, "B N 1"],
        features: Float[Tensor, "B N F"],
        background: Float[Tensor, "B G"],
        confidence: Float[Tensor, "B N 1"],
    ) -> tuple[Normal, Normal, Normal]:
        """Distributions of depth, features and background."""
        on = transparency > _GATE
        pieces = [
            self.embed_position(torch.where(on, position, self.hidden_position)),
            self.embed_scale(torch.where(on, scale, self.hidden_scale)),
            self.embed_features(torch.where(on, features, self.hidden_features)),
            self.embed_transparency(transparency),
            self.embed_confidence(confidence / 15 - 1),
        ]
        if self.grid:
            centres = self.centres.expand_as(position)
            origin = torch.cat([centres, position - centres], -1)
            pieces.append(self.embed_origin(torch.where(on, origin, self.hidden_origin)))
        particle = self.embed_particle(torch.cat(pieces, -1)) + self.token_offsets["particle"]
        back = self.embed_background(background) + self.token_offsets["background"]
        image = self.to_token(self.image(images)).flatten(1) + self.token_offsets["image"]
        tokens = torch.cat([particle, back[:, None], image[:, None]], dim=1) + self.token_offsets["all"]
        if self.views > 1:  # all tokens of a scene's views in one row
            tokens = (tokens.unflatten(0, (-1, self.views)) + self.token_offsets["view"]).flatten(1, 2)
        out = self.out(self.norm(self.blocks(tokens))).view(images.shape[0], -1, tokens.shape[-1])
        n = position.shape[1]
        depth, depth_log_variance = self.depth(out[:, :n]).chunk(2, -1)
        residual, log_variance = self.features(out[:, :n]).chunk(2, -1)
        background_residual, background_log_variance = self.background(out[:, n]).chunk(2, -1)
        return (
            normal(depth, depth_log_variance),
            normal(features + residual, log_variance),
            normal(background + background_residual, background_log_variance),
        )
