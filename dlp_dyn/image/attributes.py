"""Glimpse -> what it says of its particle: offset, scale, transparency and, without interaction, depth."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Beta, Normal

from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.networks.base import Networks
from dlp_dyn.image.proposals import gather
from dlp_dyn.nn import zero_last
from dlp_dyn.particles import beta, gate_of, gated_beta, logit, normal
from dlp_dyn.tree import TensorTree

_OFFSET_LOG_STD, _SCALE_LOG_STD = math.log(0.01), math.log(0.1)  # at initialisation (DLPv3)
_SHARPNESS = 4.0  # of the bound on sizes


@dataclass(frozen=True)
class Attributes(TensorTree):
    """What one glimpse says of the particle at its anchor. `depth` is None where interaction gives it."""

    offset: Normal
    scale: Normal
    transparency: Beta
    depth: Normal | None

    def take(self, index: Int[Tensor, "B K"]) -> "Attributes":
        return self.map(lambda x: gather(x, index))


class _Heads(nn.Module):
    """Glimpses -> raw outputs by name, each the mean and log-variance of an attribute, or a Beta's parameters.

    reader: glimpses (B, C, S, S) to flat features (B, `flat`).
    """

    def __init__(self, networks: Networks, reader: nn.Module, flat: int, outputs: dict[str, int]) -> None:
        super().__init__()
        self.cnn = reader
        self.trunk, heads = networks.attribute_heads(flat, outputs)
        self.heads = nn.ModuleDict(heads)
        if networks.starts_at_prior:
            zero_last(heads["offset"], [0.0, 0.0, 2 * _OFFSET_LOG_STD, 2 * _OFFSET_LOG_STD])
            zero_last(heads["scale"], [0.0, 0.0, 2 * _SCALE_LOG_STD, 2 * _SCALE_LOG_STD])
            if "transparency" in heads:
                zero_last(heads["transparency"])

    def outputs(self, glimpses: Float[Tensor, "B N C S S"]) -> dict[str, Float[Tensor, "B N _"]]:
        flat = self.trunk(self.cnn(glimpses.flatten(0, 1)))
        return {key: head(flat).unflatten(0, glimpses.shape[:2]).float() for key, head in self.heads.items()}


class AttributeEncoder(_Heads):
    """Attributes from a first look."""

    def __init__(self, cfg: DLPConfig, networks: Networks, reader: nn.Module, flat: int) -> None:
        gated = cfg.encoder.transparency == "gated"
        outputs = {"offset": 4, "scale": 4, "transparency": 1 if gated else 2}
        super().__init__(networks, reader, flat, outputs | _depth(cfg))
        self.gated = gated
        self.scale_bias = logit(cfg.glimpse_fraction, 1e-5) if networks.starts_at_prior else 0.0
        self.largest = cfg.largest_fraction

    def forward(self, glimpses: Float[Tensor, "B N C S S"]) -> Attributes:
        out = self.outputs(glimpses)
        offset, offset_log_variance = out["offset"].chunk(2, -1)
        scale, scale_log_variance = out["scale"].chunk(2, -1)
        return Attributes(
            normal(offset.tanh(), offset_log_variance),
            normal(_bounded(scale + self.scale_bias, self.largest), scale_log_variance),
            gated_beta(out["transparency"]) if self.gated else _free_beta(out["transparency"]),
            _depth_of(out),
        )


class AttributeRefiner(_Heads):
    """A second look, added to the first.

    Transparency stays the first, where nothing merges particles that meet: which of two on one object is off can be
    told from where their patches lie, but no more once both look at its centre.
    """

    def __init__(self, cfg: DLPConfig, networks: Networks, reader: nn.Module, flat: int) -> None:
        reads_transparency = cfg.encoder.merge > 0
        outputs = {"offset": 4, "scale": 4} | ({"transparency": 1} if reads_transparency else {})
        super().__init__(networks, reader, flat, outputs | _depth(cfg))
        self.reads_transparency, self.largest = reads_transparency, cfg.largest_fraction
        # Particles chosen apart do not meet again when each moves less than half of their distance.
        self.reach = 0.5 * cfg.min_distance if cfg.min_distance else 1.0

    def forward(self, glimpses: Float[Tensor, "B N C S S"], first: Attributes) -> Attributes:
        out = self.outputs(glimpses)
        offset, offset_log_variance = out["offset"].chunk(2, -1)
        scale, scale_log_variance = out["scale"].chunk(2, -1)
        return Attributes(
            normal(first.offset.loc + self.reach * offset.tanh(), offset_log_variance),
            normal(_bounded(first.scale.loc + scale, self.largest), scale_log_variance),
            gated_beta(gate_of(first.transparency) + out["transparency"])
            if self.reads_transparency
            else first.transparency,
            _depth_of(out),
        )


def _depth(cfg: DLPConfig) -> dict[str, int]:
    return {} if cfg.encoder.interaction else {"depth": 2}


def _depth_of(out: dict[str, Tensor]) -> Normal | None:
    return normal(*out["depth"].chunk(2, -1)) if "depth" in out else None


def _bounded(scale: Float[Tensor, "*B 2"], largest: float) -> Float[Tensor, "*B 2"]:
    """Logits of sizes that stay below a share of the image, smoothly; 0 leaves them."""
    if not largest:
        return scale
    limit = logit(largest, 1e-5)
    return limit - F.softplus(limit - scale, beta=_SHARPNESS)


def _free_beta(logits: Float[Tensor, "*B 2"]) -> Beta:
    a, b = logits.clamp_max(20).exp().clamp_min(1e-5).chunk(2, -1)
    return beta(a, b)
