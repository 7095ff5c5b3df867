"""DLPv1 of taldatech/deep-latent-particles-pytorch (`KeyPointVAE`), both models."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from dlp_dyn.errors import InputError
from dlp_dyn.image.keypoint_vae.config import SEED_SIDE, KeypointVAEConfig
from dlp_dyn.image.keypoint_vae.model import KeypointVAE
from dlp_dyn.official.rules import ALPHA_LAST, Rule, linear, reorder, reordered_linear, same

ALIASES = (("object_dec.main", "object_dec.decode"),)
_DECODERS = {"gauss_pointnetpp": "object", "gauss_pointnetpp_feat": "masked"}
_REFUSED = {"learn_order": False, "use_object_enc": True, "kp_activation": "tanh", "use_logsoftmax": False}
_GLIMPSE_CHANNELS = (16, 16, 32)


def config(h: Mapping[str, Any]) -> KeypointVAEConfig:
    """The settings that official hyper-parameters stand for.

    Raises InputError for the published code's experiments, which no released model has, KeyError for what is missing.
    """
    decoder = h["dec_bone"]
    if decoder not in _DECODERS:
        raise InputError(f"hparams: dec_bone {decoder} is not read; {' or '.join(_DECODERS)} is")
    for key, value in _REFUSED.items():
        if h.get(key, value) != value:
            raise InputError(f"hparams: {key}={h[key]} was never used in a released DLPv1 and is not read")
    return KeypointVAEConfig(
        decoder=_DECODERS[decoder],  # type: ignore[arg-type]
        image_size=h["image_size"],
        patch_size=h["patch_size"],
        n_particles=h["n_kp_enc"],
        n_proposals=h["n_kp_prior"],
        feature_dim=h["learned_feature_dim"],
        glimpse_fraction=h["anchor_s"],
        encoder_channels=list(h["enc_channels"]),
        proposal_channels=list(h["prior_channels"]),
        sigma=h.get("sigma", 0.1),
        mask_threshold=h.get("mask_threshold", 0.2),
    )


def rules(model: KeypointVAE) -> Iterator[Rule]:
    cfg = model.cfg
    yield from _keypoint_cnn("prior.cnn", "prior.enc", cfg.proposal_channels, cfg.patch_size)
    yield from _keypoint_cnn("encoder.trunk", "enc", cfg.encoder_channels, cfg.image_size)
    yield from _mlp("encoder.position", "to_normal_stats", last=False)
    rows = [4 * k + i for k in range(cfg.n_particles) for i in (1, 0, 3, 2)]
    for part in ("weight", "bias"):
        yield reorder(f"encoder.position.4.{part}", f"to_normal_stats.4.{part}", rows)
    yield from _mlp("encoder.background", "object_enc")
    if cfg.decoder == "object":
        yield from _mlp("encoder.transparency", "aux_enc")
        yield from _keypoint_cnn(
            "encoder.glimpse_cnn", "object_enc_sep.cnn", _GLIMPSE_CHANNELS, cfg.glimpse_size
        )
        yield from _mlp("encoder.appearance", "object_enc_sep.fc")
        yield from _glimpse_decoder(cfg.glimpse_size)
    else:
        yield from _masked_appearance(cfg.n_particles * cfg.map_glimpse**2)
    yield from _pointnet(model)
    yield from _image_decoder(model)


def _block(ours: str, theirs: str, before: int, after: int) -> Iterator[Rule]:
    yield same(f"{ours}.0.weight", f"{theirs}.main.conv_{before}_to_{after}.weight")
    yield from _batch_norm(f"{ours}.1", f"{theirs}.main.bathcnorm_{after}")


def _batch_norm(ours: str, theirs: str) -> Iterator[Rule]:
    for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        yield same(f"{ours}.{part}", f"{theirs}.{part}")


def _mlp(ours: str, theirs: str, last: bool = True) -> Iterator[Rule]:
    for i in (0, 2, 4) if last else (0, 2):
        yield from linear(f"{ours}.{i}", f"{theirs}.{i}")


def _keypoint_cnn(ours: str, theirs: str, channels: list[int] | tuple[int, ...], side: int) -> Iterator[Rule]:
    """Blocks are named after the side they halve and the width they give."""
    yield from _block(f"{ours}.0", f"{theirs}.main.in_block_1", 3, channels[0])
    yield from _block(f"{ours}.1", f"{theirs}.main.in_block_2", channels[0], channels[0])
    i, seen = 2, set()
    for before, after in pairwise(channels):
        yield from _block(f"{ours}.{i}", f"{theirs}.main.conv_in_{side}_0", before, after)
        i, side = i + 1, side // 2
        if after not in seen:
            yield from _block(f"{ours}.{i}", f"{theirs}.main.conv_in_{after}_1", after, after)
            i += 1
        seen.add(after)
    yield from linear(f"{ours}.{i}", f"{theirs}.keymap")


def _masked_appearance(n_values: int) -> Iterator[Rule]:
    columns = [*range(n_values), n_values + 1, n_values]
    yield reorder("encoder.appearance.0.weight", "object_enc_sep.fc.0.weight", columns, 1)
    yield same("encoder.appearance.0.bias", "object_enc_sep.fc.0.bias")
    for i in (2, 4):
        yield from linear(f"encoder.appearance.{i}", f"object_enc_sep.fc.{i}")


def _pointnet(model: KeypointVAE) -> Iterator[Rule]:
    width = 2 + model.cfg.feature_dim
    for i, layer in enumerate(model.pointnet.layers):
        mine, yours = f"pointnet.layers.{i}.message", f"pointnet.conv{i + 1}.mlp"
        columns = [*range(width), width + 1, width]
        if i == 0:
            columns[:2] = [1, 0]
        yield reorder(f"{mine}.0.weight", f"{yours}.0.weight", columns, 1)
        yield same(f"{mine}.0.bias", f"{yours}.0.bias")
        yield from _batch_norm(f"{mine}.1", f"{yours}.1")
        yield from linear(f"{mine}.3", f"{yours}.3")
        yield from _batch_norm(f"{mine}.4", f"{yours}.4")
        last = layer.message[3]  # type: ignore[index]
        assert isinstance(last, torch.nn.Linear)
        width = last.out_features
    yield from linear("pointnet.seed.0", "pointnet.fc.0")
    n = model.cfg.n_particles
    for i in range(len(model.pointnet.grow)):
        yield from _block(f"pointnet.grow.{i}", f"pointnet.cnn.depth_up_{i}", n, n)


def _image_decoder(model: KeypointVAE) -> Iterator[Rule]:
    convs = [m for m in model.image_decoder.modules() if isinstance(m, torch.nn.Conv2d)]
    for i, conv in enumerate(convs[:-1]):
        name = f"conv_to_{4 << i}" if i else "depth_up"
        yield from _block(f"image_decoder.{i}", f"dec.main.{name}", conv.in_channels, conv.out_channels)
    last = convs[-1].in_channels
    yield from linear(f"image_decoder.{len(convs) - 1}", f"dec.final_conv.main.conv_{last}_to_3")


def _glimpse_decoder(side: int) -> Iterator[Rule]:
    for i in (0, 2):
        yield from linear(f"glimpse_decoder.seed.{i}", f"object_dec.fc.{i}")
    ups = (side // SEED_SIDE).bit_length() - 1
    widths = [32] + [64] * ups + [32]
    for i in range(ups + 1):
        name = f"conv_to_{SEED_SIDE << i}" if i else "depth_up"
        yield from _block(f"glimpse_decoder.grow.{i}", f"object_dec.main.{name}", widths[i], widths[i + 1])
    yield from reordered_linear(
        f"glimpse_decoder.grow.{ups + 1}", "object_dec.main.final_conv.main.conv_32_to_4", ALPHA_LAST
    )


def load(state_dict: Mapping[str, Tensor], hparams: Mapping[str, Any]) -> KeypointVAE:
    """The model with official weights, in eval mode.

    Raises InputError naming the first tensor that is missing or of the wrong shape.
    """
    try:
        model = KeypointVAE(config(hparams))
    except KeyError as error:
        raise InputError(
            f"hparams: {error} is missing: give the settings that the model was trained with"
        ) from error
    expected, converted = model.state_dict(), {}
    for rule in rules(model):
        (key,) = rule.theirs
        if key not in state_dict or state_dict[key].shape != expected[rule.ours].shape:
            raise InputError(
                f"checkpoint: tensor {key} of shape {list(expected[rule.ours].shape)} is missing: do the hparams "
                "belong to it?"
            )
        converted[rule.ours] = rule.load([state_dict[key]])
    model.load_state_dict(converted)
    return model.eval()


def export(model: KeypointVAE) -> dict[str, Tensor]:
    """The official `state_dict`, aliases included."""
    own = model.state_dict()
    out = {rule.theirs[0]: rule.save(own[rule.ours])[0] for rule in rules(model)}
    for original, alias in ALIASES:
        out |= {alias + k.removeprefix(original): v for k, v in out.items() if k.startswith(original)}
    return out
