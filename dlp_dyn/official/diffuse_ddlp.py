"""DiffuseDDLP of taldatech/ddlp (`GaussianDiffusionPINT`): the denoiser, and the statistics of latents."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.errors import InputError
from dlp_dyn.generation.config import DiffusionConfig
from dlp_dyn.generation.diffusion import ClipDiffusion
from dlp_dyn.official.ddlp import block_rules
from dlp_dyn.official.rules import Rule, linear, reorder, reordered_linear, same
from dlp_dyn.particles import Scene
from dlp_dyn.video import VideoModel

_PARTS = {"particle": "", "background": "_bg"}


def config(h: Mapping[str, Any]) -> DiffusionConfig:
    """The settings that official hyper-parameters (of diffusion and of its DDLP together) stand for.

    Raises InputError for the published code's experiments, KeyError for what is missing.
    """
    for key, value in {"objective": "pred_x0", "beta_schedule": "cosine", "self_condition": False}.items():
        if h.get(key, value) != value:
            raise InputError(
                f"hparams: {key}={h[key]} was never used in a released DiffuseDDLP and is not read"
            )
    return DiffusionConfig(
        frames=h["diffuse_frames"],
        steps=h["diffusion_num_steps"],
        dim=h["pint_dim"],
        n_layers=h["pint_layers"],
        n_heads=h["pint_heads"],
        error=h.get("loss_type", "l1"),
        normalization=h.get("particle_norm", "minmax"),
    )


def swap(rows: Tensor) -> Tensor:
    """Rows with positions in the official (y, x) order as ours, and back."""
    return torch.cat([rows[..., :2].flip(-1), rows[..., 2:]], -1)


def rules(model: ClipDiffusion) -> Iterator[Rule]:
    """Of the denoiser; the schedule's buffers follow from the settings."""
    width = model.packing.width
    order = [1, 0, *range(2, width)]
    yield from _mlp("denoiser.time", "model.time_mlp", (1, 3))
    yield reorder("denoiser.read.0.weight", "model.particle_projection.0.weight", order, 1)
    yield same("denoiser.read.0.bias", "model.particle_projection.0.bias")
    yield from linear("denoiser.read.2", "model.particle_projection.2")
    theirs = "model.particle_transformer"
    for i in range(model.cfg.n_layers):
        yield from block_rules(f"denoiser.blocks.{i}", f"{theirs}.blocks.{i}")
        for ours, table in (("time", "rel_pos_bias"), ("particle", "particle_rel_pos_bias")):
            yield same(f"denoiser.biases.{i}.{ours}", f"{theirs}.blocks.{i}.attn.rel_pos_bias.{table}")
    yield from linear("denoiser.norm", f"{theirs}.ln_f")
    yield from linear("denoiser.out", f"{theirs}.head", bias=False)
    yield from linear("denoiser.write.0", "model.particle_decoder.0")
    yield from reordered_linear("denoiser.write.2", "model.particle_decoder.2", order)


def load(model: ClipDiffusion, state_dict: Mapping[str, Tensor], statistics: Mapping[str, Tensor]) -> None:
    """Take official weights and the `latent_stats` that belong to them.

    Raises InputError naming the first tensor that is missing.
    """
    for key in (key for rule in rules(model) for key in rule.theirs):
        if key not in state_dict:
            raise InputError(f"checkpoint: tensor {key} is missing: does the hparams file belong to it?")
    converted = {r.ours: r.load([state_dict[k].float() for k in r.theirs]) for r in rules(model)}
    model.denoiser.load_state_dict({k.removeprefix("denoiser."): v for k, v in converted.items()})
    _set_statistics(model, statistics)


def encode(video: VideoModel, frames: Float[Tensor, "B T 3 H W"]) -> Scene:
    """Scenes of clips as the official statistics were taken of.

    The background is read from what the drawn particles leave of the image, not from what is outside their boxes.
    """
    scenes = video.encode(frames)[0].scene
    flat = scenes.map(lambda x: x.flatten(0, 1))
    decoded = video.image.decode(flat)
    seen = 1 - video.image.masks(flat, decoded).sum(1, keepdim=True)
    encoder = video.image.encoder.background
    background = encoder.head(encoder.cnn(frames.flatten(0, 1) * seen).flatten(1)).chunk(2, -1)[0]
    return Scene(scenes.particles, background.unflatten(0, frames.shape[:2]))


def _set_statistics(model: ClipDiffusion, statistics: Mapping[str, Tensor]) -> None:
    """Scale columns by the official `latent_stats`."""
    for name, suffix in _PARTS.items():
        values = {k: statistics[k + suffix] for k in ("mu", "std", "min_val", "max_val")}
        if name == "particle":
            values = {k: swap(v) for k, v in values.items()}
        if model.cfg.normalization == "std":
            model.normalizer.set_std(name, values["mu"], values["std"])
        else:
            model.normalizer.set_limits(name, values["min_val"], values["max_val"])


def _mlp(ours: str, theirs: str, theirs_at: tuple[int, int]) -> Iterator[Rule]:
    for mine, yours in zip((0, 2), theirs_at, strict=True):
        yield from linear(f"{ours}.{mine}", f"{theirs}.{yours}")
