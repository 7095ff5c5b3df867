"""DLPv1 (`KeyPointVAE` of deep-latent-particles-pytorch), the object and the masked model."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from bundles import Bundle
from torch import Tensor

from dlp_dyn import geometry
from dlp_dyn.image.keypoint_vae.encoder import KeypointEncoding, exclusive
from dlp_dyn.image.keypoint_vae.model import KeypointDecoding, KeypointVAE
from dlp_dyn.objectives.dlpv1 import keypoint_terms
from dlp_dyn.official import dlpv1


def holds(bundle: Bundle) -> bool:
    return "dec_bone" in bundle.hparams


@torch.no_grad()
def outputs(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    model = dlpv1.load(bundle.state_dict, bundle.hparams)
    model.to(torch.get_default_dtype())
    images = bundle.inputs["x"]
    seen_by_prior = bundle.inputs.get("x_prior", images)
    proposals = model.prior(seen_by_prior)
    yield "proposals_all", swap(model.prior.in_image(model.prior.all(seen_by_prior)))
    yield "kp_p", swap(proposals)
    encoding = model.encoder(images, mask_weights=exclusive if model.cfg.exclusive_patches else None)
    decoded = model.decode(encoding)
    yield from read_off(encoding)
    yield from drawn(model, encoding, decoded)
    alone = model.encode(images).features_posterior
    yield "encode_all/mu_features", alone.loc
    yield "encode_all/logvar_features", 2 * alone.scale.log()
    yield from graph(model, encoding)
    for name, counted in (("loss", False), ("loss_with_background", True)):
        yield from losses(model, bundle, images, encoding, decoded, proposals, name, counted)
    if decoded.glimpses is not None:
        yield from warm_up(model, images, encoding, proposals)
    if "tps/weights" in bundle.inputs:
        yield from warped(bundle, images)


def swap(x: Tensor) -> Tensor:
    """From (x, y) to (y, x)."""
    return x.flip(-1)


def read_off(encoding: KeypointEncoding) -> Iterator[tuple[str, Tensor]]:
    position, features = encoding.position_posterior, encoding.features_posterior
    yield "heatmap", encoding.heat_map
    yield "mu", swap(position.loc)
    yield "logvar", swap(2 * position.scale.log())
    yield "mu_features", features.loc
    yield "logvar_features", 2 * features.scale.log()
    yield "cropped_objects_original", encoding.glimpses


def drawn(
    model: KeypointVAE, encoding: KeypointEncoding, decoded: KeypointDecoding
) -> Iterator[tuple[str, Tensor]]:
    yield "gmap", model.decoder_maps(encoding)
    yield "debug/decoder", decoded.background
    yield "rec", decoded.image
    if decoded.glimpses is not None and decoded.foreground is not None:
        yield "obj_on", encoding.transparency
        yield "dec_objects_original", decoded.glimpses[:, :, [3, 0, 1, 2]]  # alpha first
        yield "dec_objects", decoded.foreground


def graph(model: KeypointVAE, encoding: KeypointEncoding) -> Iterator[tuple[str, Tensor]]:
    """The PointNet alone; edges as (neighbour, node), in any order."""
    found: dict[str, Tensor] = {}
    layer: Any = model.pointnet.layers[0]
    message = layer.message.register_forward_hook(lambda _module, _args, out: found.update(messages=out))
    edges = layer.register_forward_hook(lambda _module, args, _out: found.update(neighbours=args[2]))
    yield "debug/pointnet", model.pointnet(encoding.position, encoding.features)
    message.remove()
    edges.remove()
    neighbours = found["neighbours"]
    n_clips, n_nodes, _ = neighbours.shape
    yield "debug/conv1", found["messages"].view(*neighbours.shape, -1).amax(2)  # before its activation
    first = torch.arange(n_clips)[:, None, None] * n_nodes
    nodes = first + torch.arange(n_nodes)[:, None].expand_as(neighbours)
    yield "debug/edge_index", torch.stack([(first + neighbours).flatten(), nodes.flatten()])


def losses(
    model: KeypointVAE,
    bundle: Bundle,
    images: Tensor,
    encoding: KeypointEncoding,
    decoded: KeypointDecoding,
    proposals: Tensor,
    name: str,
    counted: bool,
) -> Iterator[tuple[str, Tensor]]:
    """With the background as one more particle of the Chamfer term, or without."""
    cfg, h = model.cfg, bundle.hparams
    model.cfg = replace(cfg, background_anchor=counted)
    terms = {k: v.mean() for k, v in keypoint_terms(model, images, encoding, decoded, proposals).items()}
    model.cfg = cfg
    kl = terms["kl_anchor"] + h["kl_balance"] * terms["kl_features"]
    yield f"{name}/loss_rec", terms["reconstruction"]
    yield f"{name}/loss_kl_kp", terms["kl_anchor"]
    yield f"{name}/loss_kl_feat", terms["kl_features"]
    yield f"{name}/kl", kl
    yield f"{name}/loss", h["beta_rec"] * terms["reconstruction"] + h["beta_kl"] * kl


def warm_up(
    model: KeypointVAE, images: Tensor, encoding: KeypointEncoding, proposals: Tensor
) -> Iterator[tuple[str, Tensor]]:
    decoded = model.decode(encoding, with_background=False)
    terms = keypoint_terms(model, images, encoding, decoded, proposals, glimpses_only=True)
    yield "warmup/rec", decoded.image
    yield "loss_warmup/loss_rec", terms["reconstruction"].mean()


def warped(bundle: Bundle, images: Tensor) -> Iterator[tuple[str, Tensor]]:
    weights, picture = bundle.inputs["tps/weights"], bundle.outputs["tps/image"]
    yield "tps/grid", geometry.warp_grid(weights, picture.shape[-1])
    yield "tps/image", geometry.warp(images[: len(picture)], weights.expand(len(picture), -1, -1))
