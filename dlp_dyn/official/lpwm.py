"""LPWM of taldatech/lpwm (`DLP` with several frames): DLPv3 on a particle grid, latent actions, and dynamics."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from dlp_dyn.dynamics.config import DynamicsConfig, LatentActionConfig
from dlp_dyn.dynamics.context import ContextModule
from dlp_dyn.dynamics.factorised import FactorisedTrunk
from dlp_dyn.dynamics.latent_actions import DynamicsModule, LatentActionDynamics
from dlp_dyn.errors import InputError
from dlp_dyn.geometry import patch_centres
from dlp_dyn.official import dlpv3
from dlp_dyn.official.rules import SWAP, SWAP_PAIRS, Rule, linear, reorder, reordered_linear, same
from dlp_dyn.particles import logit
from dlp_dyn.tracking.config import TrackingConfig
from dlp_dyn.video import VideoConfig, VideoModel

_PIECES = {
    "position": "xy",
    "scale": "scale",
    "transparency": "obj_on",
    "depth": "depth",
    "features": "features",
    "origin": "origin",
}
_CONTEXT_ORDER = ("position", "scale", "features", "transparency", "depth", "origin")
_MODULATION = (0, 2, 4, 1, 3, 5)  # ours: scale, shift, gate of attention, then of the perceptron

ALIASES = (
    *dlpv3.ALIASES,
    ("ctx_module.", "encoder_module.ctx_enc."),
    ("ctx_module.", "dyn_module.context_decoder."),
)
STEERING = tuple(
    f"ctx_module.{name}"
    for name in ("action_proj.", "null_action_embeddings", "goal_proj.", "lang_proj.", "lang_pos_embed")
)  # tensors that only models with such a condition have
_UNUSED = {
    "context_dist": "gauss",
    "features_dist": "gauss",
    "ctx_pool_mode": "none",
    "predict_delta": False,
    "random_action_condition": False,
}


def config(h: Mapping[str, Any]) -> tuple[VideoConfig, dict[str, float]]:
    for key, value in _UNUSED.items():
        if h.get(key, value) != value:
            raise InputError(f"hparams: {key}={h[key]} was never used in a released LPWM and is not read")
    image, weights = dlpv3.config(h)
    cfg = VideoConfig(
        image,
        TrackingConfig(kind="grid", static_frames=h["num_static_frames"]),
        DynamicsConfig(
            kind="latent_actions",
            window=h["timestep_horizon"],
            action_dim=h["action_dim"] if h.get("action_condition") else 0,
            latent_actions=LatentActionConfig(
                dim=h["pint_dim"],
                latent_dim=h["context_dim"],
                context_layers=h["pint_ctx_layers"],
                context_heads=h["pint_ctx_heads"],
                dynamics_layers=h["pint_dyn_layers"],
                dynamics_heads=h["pint_dyn_heads"],
                dropout=h["dropout"],
                goal=h.get("image_goal_condition", False),
                language_dim=h["language_embed_dim"] if h.get("language_condition") else 0,
                language_length=h.get("language_max_len", 32),
                null_action=h.get("null_action_embed", False),
            ),
        ),
    )
    whole = 0.01 if image.reconstruction == "lpips" else 0.1
    weights["reconstruction_dynamic"] = weights["reconstruction"] * h["beta_dyn_rec"]
    for name in ("position", "scale", "depth", "transparency", "features", "background", "latent"):
        weights[f"dynamic_{name}"] = whole * h["beta_dyn"]
    return cfg, weights


def official(model: VideoModel) -> bool:
    """Whether the official code has such a model."""
    image = model.cfg.image
    return (
        isinstance(model.dynamics, LatentActionDynamics)
        and image.networks.style == "dlpv3"
        and image.encoder.grid
        and (model.dynamics.action is None or bool((model.dynamics.action.std == 1).all()))
    )


def buffers(model: VideoModel) -> dict[str, Tensor]:
    """The constants that official checkpoints carry."""
    d, image = model.cfg.dynamics, model.cfg.image
    centres = patch_centres(image.image_size, image.patch_size).flip(-1)
    anchors = centres[None]
    ends = torch.cat([centres, torch.zeros(1, 2)])[None]
    glimpse = torch.tensor(logit(image.glimpse_fraction, 1e-5))
    out = {
        "encoder_module.scale_anchor": glimpse,
        "encoder_module.particle_enc.mu_scale_prior": glimpse,
        "ctx_module.particles_anchor": anchors,
        "dyn_module.particles_anchor": anchors,
        "dyn_module.scale_anchor": torch.tensor(0.0),
        "encoder_module.patch_centers": ends,
        "encoder_module.particle_enc.patch_centers": ends,
        "encoder_module.particle_inter_enc.particles_anchor": anchors,
    }
    trunks = (
        ("ctx_module.pte", d.latent_actions.context_layers, d.window + 1),
        ("dyn_module.particle_transformer", d.latent_actions.dynamics_layers, d.window),
    )
    for trunk, n_layers, n in trunks:
        mask = torch.ones(n, n).tril().view(1, 1, 1, n, 1, n)
        out |= {f"{trunk}.blocks.{i}.temp_block.attn.mask": mask for i in range(n_layers)}
    return out


def reshaped(ours: str, theirs: str, shape: tuple[int, ...], theirs_shape: tuple[int, ...]) -> Rule:
    """The same numbers, with other axes of length 1."""
    return Rule(ours, (theirs,), lambda t: t[0].reshape(shape), lambda t: [t.reshape(theirs_shape)])


def _blocks(ours: str, theirs: str, parts: tuple[int, ...], n: int, dim: int = 0) -> Rule:
    """Ours along an axis are the official parts of equal length in another order; `parts[i]` is our i-th."""
    back = tuple(sorted(range(n), key=parts.__getitem__))

    def order(x: Tensor, index: tuple[int, ...]) -> Tensor:
        pieces = x.chunk(n, dim)
        return torch.cat([pieces[i] for i in index], dim)

    return Rule(ours, (theirs,), lambda t: order(t[0], parts), lambda t: [order(t, back)])


def rules(model: VideoModel) -> Iterator[Rule]:
    for rule in dlpv3.rules(model.image):
        yield Rule(f"image.{rule.ours}", rule.theirs, rule.load, rule.save)
    dynamics = model.dynamics
    assert isinstance(dynamics, LatentActionDynamics)
    yield from _context(dynamics.context, "dynamics.context", "ctx_module")
    yield from _dynamics(dynamics.dynamics, "dynamics.dynamics", "dyn_module")


def _context(model: ContextModule, ours: str, theirs: str) -> Iterator[Rule]:
    dim = model.cfg.dim
    embed = f"{theirs}.basic_particle_proj"
    yield from _tokens(f"{ours}.tokens", embed, f"{embed}.bg_projection", _CONTEXT_ORDER)
    for kind, name in (("particle", "particle_embeddings"), ("background", "bg_embeddings")):
        yield reshaped(f"{ours}.tokens.{kind}_kind", f"{theirs}.{name}", (dim,), (1, 1, 1, dim))
    yield from _trunk(model.trunk, f"{ours}.trunk", f"{theirs}.pte")
    n_slots = len(model.trunk.slots)
    table = f"{theirs}.pos_p_embeddings"
    yield reshaped(f"{ours}.trunk.slots", table, (n_slots, dim), (1, 1, n_slots, dim))
    yield from linear(f"{ours}.posterior", f"{theirs}.posterior_decoder.context_head.1")
    yield from linear(f"{ours}.policy", f"{theirs}.prior_decoder.context_head.1")
    for name, part, layer in (("action", model.action, "0.linear"), ("goal", model.goal, "0")):
        if part is not None:
            yield from linear(f"{ours}.{name}.{layer}", f"{theirs}.{name}_proj.0")
            yield same(f"{ours}.{name}.1.weight", f"{theirs}.{name}_proj.1.g")
    if model.no_action is not None:
        n = len(model.no_action)
        yield reshaped(f"{ours}.no_action", f"{theirs}.null_action_embeddings", (n,), (1, 1, n))
    if model.word is not None:
        yield from linear(f"{ours}.word", f"{theirs}.lang_proj")
        yield reshaped(f"{ours}.word_kind", f"{theirs}.lang_pos_embed", (dim,), (1, 1, 1, dim))
    if model.views.view is not None:
        v = model.views.n_views
        view = f"{theirs}.view_embeddings"
        yield reshaped(f"{ours}.views.view", view, (v, 1, 1, dim), (1, 1, v, 1, dim))


def _dynamics(model: DynamicsModule, ours: str, theirs: str) -> Iterator[Rule]:
    dim = model.latent.out_features
    embed = f"{theirs}.particle_projection"
    yield from _tokens(f"{ours}.tokens", embed, f"{embed}.bg_features_projection", tuple(_PIECES))
    yield reshaped(f"{ours}.tokens.particle_kind", f"{embed}.particle_embedding", (dim,), (1, 1, dim))
    yield reshaped(f"{ours}.tokens.background_kind", f"{embed}.bg_embedding", (dim,), (1, dim))
    yield from linear(f"{ours}.latent", f"{theirs}.context_proj")
    yield from _trunk(model.trunk, f"{ours}.trunk", f"{theirs}.particle_transformer")
    n_slots = len(model.trunk.slots)
    table = f"{theirs}.pos_p_embeddings"
    yield reshaped(f"{ours}.trunk.slots", table, (n_slots, dim), (1, n_slots, 1, dim))
    if model.views.view is not None:
        v = model.views.n_views
        view = f"{theirs}.view_embeddings"
        yield reshaped(f"{ours}.views.view", view, (v, 1, 1, dim), (1, v, 1, 1, dim))
    heads = f"{theirs}.particle_decoder"
    for name, official in (("position", "offset_xy_head"), ("scale", "scale_xy_head")):
        yield from linear(f"{ours}.heads.heads.{name}.0", f"{heads}.{official}.0")
        yield from reordered_linear(f"{ours}.heads.heads.{name}.2", f"{heads}.{official}.2", SWAP_PAIRS)
    for name, official in (("transparency", "obj_on"), ("depth", "depth"), ("features", "features")):
        for i in (0, 2):
            yield from linear(f"{ours}.heads.heads.{name}.{i}", f"{heads}.{official}_head.{i}")
    yield from linear(f"{ours}.heads.background.0", f"{heads}.bg_backbone.0")
    yield from linear(f"{ours}.heads.background.2", f"{heads}.bg_features_head")


def _tokens(ours: str, theirs: str, background: str, order: tuple[str, ...]) -> Iterator[Rule]:
    """order: in which the official code joins the embedded attributes."""
    for name, official in _PIECES.items():
        mine, yours = f"{ours}.attributes.{name}", f"{theirs}.{official}_projection"
        swap = {"position": SWAP, "scale": SWAP, "origin": SWAP_PAIRS}.get(name)
        yield (
            reorder(f"{mine}.0.weight", f"{yours}.0.weight", swap, 1)
            if swap
            else same(f"{mine}.0.weight", f"{yours}.0.weight")
        )
        yield same(f"{mine}.0.bias", f"{yours}.0.bias")
        yield same(f"{mine}.1.weight", f"{yours}.1.g")
        yield from linear(f"{mine}.3", f"{yours}.3")
    mine, yours = f"{ours}.particle", f"{theirs}.particle_projection"
    parts = tuple(order.index(name) for name in _PIECES)
    yield _blocks(f"{mine}.0.weight", f"{yours}.0.weight", parts, len(parts), 1)
    yield same(f"{mine}.0.bias", f"{yours}.0.bias")
    yield same(f"{mine}.1.weight", f"{yours}.1.g")
    yield from linear(f"{mine}.3", f"{yours}.3")
    yield from linear(f"{ours}.background.0", f"{background}.0")
    yield same(f"{ours}.background.1.weight", f"{background}.1.g")
    yield from linear(f"{ours}.background.3", f"{background}.3")
    yield reorder(f"{ours}.hidden.position", f"{theirs}.xy_mask", SWAP)
    yield reorder(f"{ours}.hidden.scale", f"{theirs}.scale_mask", SWAP)
    yield same(f"{ours}.hidden.depth", f"{theirs}.depth_mask")
    yield same(f"{ours}.hidden.features", f"{theirs}.features_mask")
    yield reorder(f"{ours}.hidden.origin", f"{theirs}.orig_mask", SWAP_PAIRS)


def _trunk(model: FactorisedTrunk, ours: str, theirs: str) -> Iterator[Rule]:
    n_frames, _, dim = model.frames.shape
    table = f"{theirs}.pos_embed_t_embedding"
    yield reshaped(f"{ours}.frames", table, (n_frames, 1, dim), (1, 1, n_frames, dim))
    for i in range(len(model.space)):
        for part, official in (("space", "spatio_block"), ("time", "temp_block")):
            mine, yours = f"{ours}.{part}.{i}", f"{theirs}.blocks.{i}.{official}"
            yield same(f"{mine}.norm_attention.weight", f"{yours}.ln1.g")
            yield same(f"{mine}.norm_mlp.weight", f"{yours}.ln2.g")
            for a, b in (("query", "query"), ("key", "key"), ("value", "value"), ("out", "proj")):
                yield same(f"{mine}.{a}.weight", f"{yours}.attn.{b}.weight")
            yield from linear(f"{mine}.mlp.0", f"{yours}.mlp.fc_1")
            yield from linear(f"{mine}.mlp.2", f"{yours}.mlp.proj")
            for kind in ("weight", "bias"):
                yield _blocks(f"{mine}.modulation.{kind}", f"{yours}.c_proj.{kind}", _MODULATION, 6)
    yield same(f"{ours}.norm.weight", f"{theirs}.head.norm.g")
    yield from linear(f"{ours}.modulation", f"{theirs}.head.c_proj")
    yield from linear(f"{ours}.out", f"{theirs}.head.head")
