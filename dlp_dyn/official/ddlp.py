"""DDLP of taldatech/ddlp (`ObjectDynamicsDLP`): the image part is DLPv2's, the dynamics are PINT."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import torch

from dlp_dyn.dynamics.config import DynamicsConfig, TransformerConfig
from dlp_dyn.dynamics.transformer import TransformerDynamics
from dlp_dyn.errors import InputError
from dlp_dyn.objectives.config import ClipWeights
from dlp_dyn.official import dlpv2
from dlp_dyn.official.rules import SWAP, SWAP_PAIRS, Rule, linear, reorder, reordered_linear, same
from dlp_dyn.tracking.config import TrackingConfig
from dlp_dyn.video import VideoConfig, VideoModel

ALIASES = dlpv2.ALIASES
_ATTRIBUTES = {
    "position": "xy",
    "scale": "scale",
    "transparency": "obj_on",
    "depth": "depth",
    "features": "features",
}


def rules(model: VideoModel) -> Iterator[Rule]:
    for rule in dlpv2.rules(model.image):
        yield Rule(f"image.{rule.ours}", rule.theirs, rule.load, rule.save)
    dynamics = model.dynamics
    assert isinstance(dynamics, TransformerDynamics)
    yield from _token_rules()
    yield from _trunk_rules(model.cfg.dynamics.transformer.n_layers)
    yield from _head_rules()


def official(model: VideoModel) -> bool:
    """Whether the official code has such a model."""
    d, image = model.cfg.dynamics, model.cfg.image
    transformer = d.kind == "transformer" and d.transformer.attention == "joint" and d.action_dim == 0
    return transformer and model.cfg.tracking.kind == "tracker" and image.networks.style == "dlpv2"


def buffers(model: VideoModel) -> dict[str, torch.Tensor]:
    """The causal masks that official checkpoints carry."""
    d = model.cfg.dynamics
    mask = torch.ones(d.window, d.window).tril().view(1, 1, 1, d.window, 1, d.window)
    blocks = "dyn_module.particle_transformer.blocks"
    return {f"{blocks}.{i}.attn.mask": mask for i in range(d.transformer.n_layers)}


def _token_rules() -> Iterator[Rule]:
    theirs = "dyn_module.particle_projection"
    for name, official in _ATTRIBUTES.items():
        mine, yours = f"dynamics.tokens.attributes.{name}", f"{theirs}.{official}_projection"
        if name in ("position", "scale"):  # what comes out is only read by the next layer, in any order
            yield reorder(f"{mine}.0.weight", f"{yours}.0.weight", SWAP, 1)
            yield same(f"{mine}.0.bias", f"{yours}.0.bias")
        else:
            yield from linear(f"{mine}.0", f"{yours}.0")
        yield from linear(f"{mine}.2", f"{yours}.2")
    for i in (0, 2):
        yield from linear(f"dynamics.tokens.particle.{i}", f"{theirs}.particle_projection.{i}")
        yield from linear(f"dynamics.tokens.background.{i}", f"{theirs}.bg_features_projection.{i}")


def _trunk_rules(n_layers: int) -> Iterator[Rule]:
    theirs = "dyn_module.particle_transformer"
    for i in range(n_layers):
        yours = f"{theirs}.blocks.{i}"
        yield from block_rules(f"dynamics.trunk.blocks.{i}", yours)
        bias, tables = f"dynamics.trunk.biases.{i}", f"{yours}.attn.rel_pos_bias"
        yield same(f"{bias}.time", f"{tables}.rel_pos_bias")
        yield same(f"{bias}.particle", f"{tables}.particle_rel_pos_bias")
    yield from linear("dynamics.trunk.norm", f"{theirs}.ln_f")
    yield from linear("dynamics.trunk.out", f"{theirs}.head", bias=False)


def block_rules(mine: str, yours: str) -> Iterator[Rule]:
    """One block of the transformer, without its biases."""
    yield from linear(f"{mine}.norm_attention", f"{yours}.ln1")
    yield from linear(f"{mine}.norm_mlp", f"{yours}.ln2")
    for a, b in (("query", "query"), ("key", "key"), ("value", "value"), ("out", "proj")):
        yield from linear(f"{mine}.{a}", f"{yours}.attn.{b}", bias=False)
    yield from linear(f"{mine}.mlp.0", f"{yours}.mlp.fc_1")
    yield from linear(f"{mine}.mlp.2", f"{yours}.mlp.proj")


def _head_rules() -> Iterator[Rule]:
    theirs = "dyn_module.particle_decoder"
    for i in (0, 2):
        yield from linear(f"dynamics.heads.trunk.0.{i}", f"{theirs}.backbone.{i}")
    for part in ("weight", "bias"):  # as in DLPv2: two heads, one per axis, and "x" is the row
        yield Rule(
            f"dynamics.heads.heads.position.{part}",
            (f"{theirs}.x_head.{part}", f"{theirs}.y_head.{part}"),
            lambda t: torch.stack([t[1][0], t[0][0], t[1][1], t[0][1]]),
            lambda t: [t[[1, 3]], t[[0, 2]]],
        )
    yield from reordered_linear("dynamics.heads.heads.scale", f"{theirs}.scale_xy_head", SWAP_PAIRS)
    for name, official in (("transparency", "obj_on"), ("depth", "depth"), ("features", "features")):
        yield from linear(f"dynamics.heads.heads.{name}", f"{theirs}.{official}_head")
    yield from linear("dynamics.heads.background", f"{theirs}.bg_features_head")


def config(h: Mapping[str, Any]) -> tuple[VideoConfig, dict[str, float]]:
    if not h.get("predict_delta", True):
        raise InputError("hparams: predict_delta=false was never used in a released DDLP and is not read")
    image, weights = dlpv2.config(h)
    cfg = VideoConfig(
        image,
        TrackingConfig(kind="tracker", static_frames=h.get("num_static_frames", 4)),
        DynamicsConfig(
            kind="transformer",
            window=h["timestep_horizon"],
            transformer=TransformerConfig(
                attention="joint",
                dim=h["pint_dim"],
                n_layers=h["pint_layers"],
                n_heads=h["pint_heads"],
                depth_logvar_is_delta=True,
            ),
        ),
    )
    whole = 1e-3 if image.reconstruction == "vgg" else 1.0
    # The official static term of the background is a mean over its dimensions where others are sums.
    weights["kl_background"] /= image.background_dim
    weights["reconstruction_dynamic"] = whole * h["beta_rec"] * h.get("beta_dyn_rec", 0.1)
    for term in fields(ClipWeights):
        if term.name.startswith("dynamic_"):
            weights[term.name] = whole * h["beta_dyn"]
    return cfg, weights
