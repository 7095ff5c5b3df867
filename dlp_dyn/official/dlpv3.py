"""DLPv3, the image part of taldatech/lpwm (`DLP` with one frame)."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from dlp_dyn.errors import InputError
from dlp_dyn.image.config import CompatConfig, DLPConfig, EncoderConfig, NetworkConfig, PriorConfig
from dlp_dyn.image.model import DLP
from dlp_dyn.nn import ConvLayer, layers_of
from dlp_dyn.official.rules import ALPHA_LAST, SWAP, SWAP_PAIRS, Rule, linear, reorder, reordered_linear, same


def _encoder(model: DLP, ours: str, theirs: str) -> Iterator[Rule]:
    layers = layers_of(model, ours)
    names = ["conv_in"]
    for level in range((len(layers) - 1) // 2):  # a block and a stride at each level, no stride at the last
        names += [f"down.{level}.block.0.conv", f"down.{level}.downsample.conv"]
    names = [*names[:-1], "conv_out"]
    for i, name in enumerate(names):
        yield from _layer(layers[i], f"{ours}.{i}", f"{theirs}.{name}")


def _decoder(model: DLP, ours: str, theirs: str, index: list[int] | None = None) -> Iterator[Rule]:
    layers = layers_of(model, ours)
    names = ["conv_in"]
    for level in reversed(range((len(layers) - 1) // 3)):
        names += [f"up.{level}.block.0.conv", f"up.{level}.block.1.conv", f"up.{level}.upsample.conv"]
    names = [*names[:-1], "conv_out"]
    for i, name in enumerate(names):
        last = i == len(names) - 1
        yield from _layer(layers[i], f"{ours}.{i}", f"{theirs}.{name}", index if last else None)


def _layer(layer: nn.Module, ours: str, theirs: str, index: list[int] | None = None) -> Iterator[Rule]:
    assert isinstance(layer, ConvLayer)
    if index is None:
        yield from linear(f"{ours}.conv", theirs)
    else:
        yield from reordered_linear(f"{ours}.conv", theirs, index)
    if layer.norm is not None:
        yield from linear(f"{ours}.norm", theirs.removesuffix("conv") + "norm")


def rules(model: DLP) -> Iterator[Rule]:
    root = "encoder_module.particle_enc"
    yield from _encoder(model, "encoder.proposals.cnn", "prior_module.enc")

    ours, theirs = "encoder.attributes", f"{root}.particle_attribute_enc"
    yield from _encoder(model, f"{ours}.cnn.cnn", f"{theirs}.cnn")
    for head, official in (("offset", "xy_head"), ("scale", "scale_xy_head")):
        yield from linear(f"{ours}.heads.{head}.0", f"{theirs}.{official}.0")
        yield from reordered_linear(f"{ours}.heads.{head}.2", f"{theirs}.{official}.2", SWAP_PAIRS)
    yield from linear(f"{ours}.heads.transparency.0", f"{theirs}.obj_on_head.0")
    yield from linear(f"{ours}.heads.transparency.2", f"{theirs}.obj_on_head.2", bias=False)

    yield from _encoder(model, "encoder.appearance.cnn.cnn", f"{root}.particle_features_enc.cnn")
    yield from _encoder(model, "encoder.background.cnn.cnn", "encoder_module.bg_encoder.bg_cnn_enc")
    for i in (0, 2):
        yield from linear(f"encoder.appearance.head.{i}", f"{root}.particle_features_enc.to_mu.{i}")
        yield from linear(f"encoder.background.head.{i}", f"encoder_module.bg_encoder.to_mu.{i}")
        glimpse, background = "particle_dec", "bg_dec.latent_to_feat_map"
        yield from linear(f"decoder.glimpses.mlp.{i}", f"decoder_module.{glimpse}.from_latent_lin.{i}")
        yield from linear(f"decoder.background.mlp.{i}", f"decoder_module.{background}.from_latent_lin.{i}")
    yield from _decoder(model, "decoder.glimpses.cnn", "decoder_module.particle_dec.cnn", ALPHA_LAST)
    yield from _decoder(model, "decoder.background.cnn", "decoder_module.bg_dec.cnn")
    yield from _interaction_rules(model)


def _interaction_rules(model: DLP) -> Iterator[Rule]:
    ours, theirs = "encoder.interaction", "encoder_module.particle_inter_enc"
    embed = f"{theirs}.basic_particle_proj"
    names = {
        "position": "xy",
        "scale": "scale",
        "features": "features",
        "transparency": "obj_on",
        "confidence": "score",
        "particle": "particle",
        "background": "bg",
    }
    grid = model.cfg.encoder.grid
    if grid:
        names["origin"] = "origin"
        yield Rule(
            "encoder.unseen",
            ("encoder_module.particle_enc.null_feature_embed",),
            lambda t: t[0].flatten(),
            lambda t: [t.view(1, 1, -1)],
        )
        yield reorder(f"{ours}.hidden_origin", f"{embed}.orig_mask", SWAP_PAIRS)
    for name, official in names.items():
        mine, yours = f"{ours}.embed_{name}", f"{embed}.{official}_projection"
        if name in ("position", "scale", "origin"):
            axes = SWAP_PAIRS if name == "origin" else SWAP
            yield reorder(f"{mine}.0.weight", f"{yours}.0.weight", axes, 1)
            yield same(f"{mine}.0.bias", f"{yours}.0.bias")
        else:
            yield from linear(f"{mine}.0", f"{yours}.0")
        yield same(f"{mine}.1.weight", f"{yours}.1.g")
        yield from linear(f"{mine}.3", f"{yours}.3")
    yield reorder(f"{ours}.hidden_position", f"{embed}.xy_mask", SWAP)
    yield reorder(f"{ours}.hidden_scale", f"{embed}.scale_mask", SWAP)
    yield same(f"{ours}.hidden_features", f"{embed}.features_mask")
    offsets = {"particle": "particle_embeddings", "background": "bg_embeddings", "image": "ctx_embeddings"}
    if model.cfg.encoder.views > 1:
        offsets["view"] = "view_embeddings"
    parameters = dict(model.named_parameters())
    for name, official in {**offsets, "all": "pte.pos_emb"}.items():
        own = parameters[f"{ours}.token_offsets.{name}"].shape
        shape = {"all": (1, 1, -1), "view": (1, 1, *own)}.get(
            name, (1, 1, *own) if len(own) > 1 else (1, 1, 1, -1)
        )
        yield Rule(
            f"{ours}.token_offsets.{name}",
            (f"{theirs}.{official}",),
            lambda t, own=own: t[0].reshape(own),
            lambda t, shape=shape: [t.reshape(shape)],
        )
    yield from _encoder(model, f"{ours}.image.cnn", f"{theirs}.ctx_cnn_enc")
    yield from linear(f"{ours}.to_token", f"{theirs}.to_latent")
    for i in range(model.cfg.encoder.interaction_layers):
        mine, yours = f"{ours}.blocks.{i}", f"{theirs}.pte.blocks.{i}"
        yield same(f"{mine}.norm_attention.weight", f"{yours}.ln1.g")
        yield same(f"{mine}.norm_mlp.weight", f"{yours}.ln2.g")
        for a, b in (("query", "query"), ("key", "key"), ("value", "value"), ("out", "proj")):
            yield from linear(f"{mine}.attention.{a}", f"{yours}.attn.{b}", bias=False)
        yield from linear(f"{mine}.mlp.0", f"{yours}.mlp.fc_1")
        yield from linear(f"{mine}.mlp.2", f"{yours}.mlp.proj")
    yield same(f"{ours}.norm.weight", f"{theirs}.pte.ln_f.g")
    yield from linear(f"{ours}.out", f"{theirs}.pte.head", bias=False)
    heads = f"{theirs}.particle_decoder"
    for i in (0, 2):
        yield from linear(f"{ours}.depth.{i}", f"{heads}.depth_head.{i}")
        yield from linear(f"{ours}.features.{i}", f"{heads}.features_head.{i}")
    yield from linear(f"{ours}.background.0", f"{heads}.bg_backbone.0")
    yield from linear(f"{ours}.background.2", f"{heads}.bg_features_head")


ALIASES = (
    ("prior_module.", "encoder_module.prior_encoder."),
    ("prior_module.", "encoder_module.particle_enc.prior_encoder."),
)


def config(h: Mapping[str, Any]) -> tuple[DLPConfig, dict[str, float]]:
    if h.get("use_resblock") or h.get("cnn_mid_blocks") or h.get("num_res_blocks", 1) != 1:
        raise InputError(
            "hparams: residual or middle blocks were never used in a released DLPv3 and are not read"
        )
    if h.get("normalize_rgb"):
        raise InputError("hparams: normalize_rgb=true was never used in a released DLPv3 and is not read")

    def widths(key: str, base: str) -> list[int]:
        return [h[base] * m for m in h[key]]

    perceptual = h["recon_loss_type"] == "vgg"
    cfg = DLPConfig(
        image_size=h["image_size"],
        patch_size=h["patch_size"],
        n_particles=h["n_kp_enc"],
        glimpse_fraction=h["anchor_s"],
        feature_dim=h["learned_feature_dim"],
        background_dim=h["learned_bg_feature_dim"],
        reconstruction="lpips" if perceptual else "mse",
        networks=NetworkConfig(
            style="dlpv3",
            proposal_channels=widths("obj_ch_mult_prior", "obj_base_ch"),
            glimpse_channels=widths("obj_ch_mult", "obj_base_ch"),
            background_channels=widths("bg_ch_mult", "bg_base_ch"),
            stem_channels=h["obj_base_ch"],
            map_channels=h["obj_final_cnn_ch"],
            hidden_dim=h["mlp_hidden_dim"],
            glimpse_start=h["obj_res_from_fc"],
            background_start=h["bg_res_from_fc"],
        ),
        encoder=EncoderConfig(
            min_separation=0.0,
            passes=1,
            grid=h.get("timestep_horizon", 1) > 1,
            views=h.get("n_views", 1),
            interaction_heads=h["pint_enc_heads"],
            interaction_layers=h["pint_enc_layers"],
        ),
        prior=PriorConfig(
            offset_std=h["offset_std"],
            scale_std=h["scale_std"],
            transparency=[h["obj_on_alpha"], h["obj_on_beta"]],
        ),
        compat=CompatConfig(beta_kl_eps=1e-5, pixel_border_sampling=True, scalar_norm=True),
    )
    whole = 0.01 if perceptual else 0.1
    kl, balance = whole * h["beta_kl"], h["kl_balance"]
    return cfg, {
        "reconstruction": whole * h["beta_rec"],
        "kl_anchor": 0.5 * balance * kl,
        "kl_position": kl,
        "kl_scale": kl,
        "kl_depth": kl,
        "kl_transparency": kl,
        "kl_features": balance * kl,
        "kl_background": balance * kl,
        "transparency_sum": whole * h["beta_obj"],
        "off_centre": 0.0,
        "opacity": 0.0,
        "spill": 0.0,
        "missed": 0.0,
        "particles": 0.0,
    }
