"""DLPv2 of taldatech/ddlp (`ObjectDLP`)."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from dlp_dyn.image.config import CompatConfig, DLPConfig, EncoderConfig, NetworkConfig, PriorConfig
from dlp_dyn.image.model import DLP
from dlp_dyn.nn import ConvLayer, layers_of
from dlp_dyn.official.rules import ALPHA_LAST, SWAP, SWAP_PAIRS, Rule, linear, reorder, reordered_linear, same


def _stack(model: DLP, ours: str, theirs: str, side: int, channels: list[int]) -> Iterator[Rule]:
    """The keypoint CNN; official layers are named after nominal sides and widths."""
    names = ["in_block_1", "in_block_2"]
    for width in channels[1:]:
        names.append(f"conv_in_{side}_0")
        if f"conv_in_{width}_1" not in names or not model.cfg.compat.merge_repeated_widths:
            names.append(f"conv_in_{width}_1")
        side //= 2
    layers = layers_of(model, ours)
    for i, name in enumerate(names):
        yield from _layer(layers[i], f"{ours}.{i}", f"{theirs}.main.{name}")
    yield from linear(f"{ours}.{len(names)}.conv", f"{theirs}.keymap")


def _layer(layer: nn.Module, ours: str, theirs: str, index: list[int] | None = None) -> Iterator[Rule]:
    assert isinstance(layer, ConvLayer)
    conv = layer.conv
    name = f"{theirs}.main.conv_{conv.in_channels}_to_{conv.out_channels}"
    parts = ["weight"] if conv.bias is None else ["weight", "bias"]
    for part in parts:
        if index is None:
            yield same(f"{ours}.conv.{part}", f"{name}.{part}")
        else:
            yield reorder(f"{ours}.conv.{part}", f"{name}.{part}", index)
    if layer.norm is not None:
        yield from linear(f"{ours}.norm", f"{theirs}.main.grouupnorm_{conv.out_channels}")


def rules(model: DLP) -> Iterator[Rule]:
    cfg = model.cfg
    glimpse, channels = cfg.glimpse_size, cfg.networks.proposal_channels
    yield from _stack(model, "encoder.proposals.cnn", "fg_module.prior.enc", cfg.patch_size, channels)

    theirs = "fg_module.particle_attribute_enc"
    yield from _stack(model, "encoder.attributes.cnn.cnn", f"{theirs}.cnn", glimpse, channels)
    yield from linear("encoder.attributes.trunk.0", f"{theirs}.projection")
    yield from linear("encoder.attributes.trunk.1.0", f"{theirs}.backbone.0")
    yield from linear("encoder.attributes.trunk.1.2", f"{theirs}.backbone.2")
    for part in ("weight", "bias"):  # two heads, one per axis, each (mean, log-variance); "x" is the row
        yield Rule(
            f"encoder.attributes.heads.offset.0.{part}",
            (f"{theirs}.x_head.{part}", f"{theirs}.y_head.{part}"),
            lambda t: torch.stack([t[1][0], t[0][0], t[1][1], t[0][1]]),
            lambda t: [t[[1, 3]], t[[0, 2]]],
        )
    yield from reordered_linear("encoder.attributes.heads.scale.0", f"{theirs}.scale_xy_head", SWAP_PAIRS)
    yield from linear("encoder.attributes.heads.transparency.0", f"{theirs}.obj_on_head")
    yield from linear("encoder.attributes.heads.depth.0", f"{theirs}.depth_head")

    theirs = "fg_module.particle_features_enc"
    yield from _stack(model, "encoder.appearance.cnn.cnn", f"{theirs}.cnn", glimpse, channels)
    yield from linear("encoder.appearance.head.0", f"{theirs}.projection")
    yield from linear("encoder.appearance.head.1.0", f"{theirs}.backbone.0")
    yield from linear("encoder.appearance.head.1.2", f"{theirs}.backbone.2")
    yield from linear("encoder.appearance.head.3", f"{theirs}.features_head")

    if model.encoder.mixer is not None:
        theirs = "fg_module.particle_mixer"
        yield from _stack(model, "encoder.mixer.glimpses.cnn", f"{theirs}.cnn", glimpse, channels)
        yield from linear("encoder.mixer.project_glimpse", f"{theirs}.conv_projection")
        yield reorder("encoder.mixer.project_position.weight", f"{theirs}.pos_projection.weight", SWAP, 1)
        yield same("encoder.mixer.project_position.bias", f"{theirs}.pos_projection.bias")
        yield from linear("encoder.mixer.norm_tokens", f"{theirs}.mixer.0.norm")
        yield from linear("encoder.mixer.norm_channels", f"{theirs}.mixer.1.norm")
        yield from linear("encoder.mixer.norm_out", f"{theirs}.mixer.2")
        yield from linear("encoder.mixer.out", f"{theirs}.mixer.3")
        for i in (0, 2):
            yield Rule(  # a convolution of width one over tokens
                f"encoder.mixer.over_tokens.{i}.weight",
                (f"{theirs}.mixer.0.fn.{i}.weight",),
                lambda t: t[0][..., 0],
                lambda t: [t[..., None]],
            )
            yield same(f"encoder.mixer.over_tokens.{i}.bias", f"{theirs}.mixer.0.fn.{i}.bias")
            yield from linear(f"encoder.mixer.over_channels.{i}", f"{theirs}.mixer.1.fn.{i}")

    ours, theirs = "encoder.background.cnn.cnn", "bg_module.bg_cnn_enc"
    yield from _stack(model, ours, theirs, cfg.image_size, cfg.networks.background_channels)
    for i in (0, 2, 4):
        yield from linear(f"encoder.background.head.{i}", f"bg_module.bg_enc.{i}")
        yield from linear(f"decoder.glimpses.mlp.{i}", f"fg_module.object_dec.fc.{i}")
        yield from linear(f"decoder.background.mlp.{i}", f"bg_module.latent_to_feat_map.mlp.{i}")

    ours, theirs = "decoder.glimpses.cnn", "fg_module.object_dec.main"
    layers = layers_of(model, ours)
    names = ["depth_up"] + [f"conv_to_{8 * 2**i}" for i in range(1, len(layers) - 1)]
    for i, name in enumerate(names):
        yield from _layer(layers[i], f"{ours}.{i}", f"{theirs}.{name}")
    yield from _layer(layers[-1], f"{ours}.{len(names)}", f"{theirs}.final_conv", ALPHA_LAST)

    ours, theirs = "decoder.background.cnn", "bg_module.dec"
    layers = layers_of(model, ours)
    channels = cfg.networks.background_channels
    lifts = len(layers) - len(channels) - 1  # layers between the 8x8 map and the decoder's own first
    names = [f"bg_module.latent_to_feat_map.cnn.depth_up_{i}" for i in range(lifts)]
    names += [f"{theirs}.main.depth_up"] + [
        f"{theirs}.main.conv_to_{8 * 2**i}" for i in range(len(channels) - 1)
    ]
    for i, name in enumerate(names):
        yield from _layer(layers[i], f"{ours}.{i}", name)
    yield from _layer(layers[-1], f"{ours}.{len(names)}", f"{theirs}.final_conv")


ALIASES = (
    ("fg_module.object_dec.main.", "fg_module.object_dec.decode."),
    ("fg_module.particle_mixer.mixer.0.fn.", "fg_module.particle_mixer.conv."),
    ("fg_module.particle_mixer.mixer.1.fn.", "fg_module.particle_mixer.dense."),
)


def config(h: Mapping[str, Any]) -> tuple[DLPConfig, dict[str, float]]:
    n_patches = (h["image_size"] // h["patch_size"]) ** 2
    how = h.get("filtering_heuristic", "variance")
    cfg = DLPConfig(
        image_size=h["image_size"],
        patch_size=h["patch_size"],
        n_particles=h["n_kp_enc"],
        n_proposals=min(n_patches, h["n_kp_prior"]),
        glimpse_fraction=h["anchor_s"],
        feature_dim=h["learned_feature_dim"],
        background_dim=h.get("bg_learned_feature_dim", h["learned_feature_dim"]),
        reconstruction=h.get("recon_loss_type", "mse"),
        mask_kl=False,
        networks=NetworkConfig(
            style="dlpv2",
            map_channels=32,
            proposal_channels=list(h["prior_channels"]),
            background_channels=list(h["enc_channels"]),
        ),
        encoder=EncoderConfig(
            selection="mixer" if how == "none" else how,
            passes=2,
            transparency="free",
            interaction=False,
            hard_background_mask=False,
            correlation=h.get("use_correlation_heatmaps", False),
            glimpse_padding="zeros",
        ),
        prior=PriorConfig(
            offset_std=h["offset_std"],
            scale_std=h["scale_std"],
            transparency=[h["obj_on_alpha"], h["obj_on_beta"]],
        ),
        compat=CompatConfig(beta_kl_eps=1e-5, merge_repeated_widths=True),
    )
    whole = 1e-3 if cfg.reconstruction == "vgg" else 1.0
    kl, balance = whole * h["beta_kl"], h["kl_balance"]
    return cfg, {
        "reconstruction": whole * h["beta_rec"],
        "kl_anchor": 0.5 * balance * kl,
        "kl_position": kl,
        "kl_scale": kl,
        "kl_depth": balance * kl,
        "kl_transparency": kl,
        "kl_features": balance * kl,
        "kl_background": balance * kl,
        "transparency_sum": 0.0,
        "off_centre": 0.0,
        "opacity": 0.0,
        "spill": 0.0,
        "missed": 0.0,
        "particles": 0.0,
    }
