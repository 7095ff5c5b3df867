"""DiffuseDDLP (`GaussianDiffusionPINT` of ddlp): the denoiser, its noise, and what is made of a sample."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import bundles
import torch
from bundles import GOLDEN, Bundle
from torch import Tensor

from dlp_dyn import official
from dlp_dyn.config import OptimizerConfig
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.generation.denoiser import Denoiser
from dlp_dyn.generation.diffusion import ClipDiffusion
from dlp_dyn.generation.packing import ScenePacking
from dlp_dyn.generation.schedule import CosineSchedule
from dlp_dyn.official import diffuse_ddlp
from dlp_dyn.official.diffuse_ddlp import swap
from dlp_dyn.particles import Scene
from dlp_dyn.training.optimization import average_decay
from dlp_dyn.video import VideoModel

PUBLISHED = OptimizerConfig(ema_decay=0.995, ema_every=10, ema_start=100, ema_power=2 / 3)


def holds(bundle: Bundle) -> bool:
    return "diffuse_frames" in bundle.hparams


@torch.no_grad()
def outputs(bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    model, inputs, expected = load(bundle), bundle.inputs, bundle.outputs
    yield from one_step(model, inputs)
    chain = swap(inputs["chain_noise"])
    rows = model.denoise(lambda step: chain[len(chain) - step])
    yield "sample/x", swap(rows)
    yield from schedule(CosineSchedule(1000))
    yield "ema_decay", torch.tensor([average_decay(PUBLISHED, int(step)) for step in inputs["ema_steps"]])
    latents = swap(expected["latents"])
    yield "latents_normalized", swap(model.normalizer(latents))
    yield "padding_mask", model.packing.mask(model.n_rows - 1).expand_as(latents)
    ddlp = bundles.read(GOLDEN / Path(bundle.hparams["ddlp_weights"]).name, torch.get_default_dtype())
    video, _ = official.load(ddlp.state_dict, ddlp.hparams)
    assert isinstance(video, VideoModel)
    video.to(torch.get_default_dtype())
    yield "latents", swap(model.packing.pack(diffuse_ddlp.encode(video, inputs["x"])))
    yield from carried_on(video, model.scenes(rows), bundle)


def load(bundle: Bundle) -> ClipDiffusion:
    h = bundle.hparams
    packing = ScenePacking(h["learned_feature_dim"], h["learned_feature_dim"])
    model = ClipDiffusion(diffuse_ddlp.config(h), h["n_kp_enc"], packing)
    prefix = "latent_stats/"
    statistics = {k.removeprefix(prefix): v for k, v in bundle.inputs.items() if k.startswith(prefix)}
    diffuse_ddlp.load(model, bundle.state_dict, statistics)
    return model.to(torch.get_default_dtype()).eval()


def one_step(model: ClipDiffusion, inputs: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Noise added, taken off by the network, and one step of the chain back."""
    x, t, found = swap(inputs["x_start"]), inputs["t"], {}
    noisy = model.schedule.add_noise(x, swap(inputs["noise"]), t)
    yield "x_t", swap(noisy)
    denoiser = model.denoiser
    assert isinstance(denoiser, Denoiser)
    yield "time_embedding", denoiser.time_code(t)
    hook = denoiser.out.register_forward_hook(lambda _module, _args, out: found.update(trunk=out))
    denoised = denoiser(noisy, t)
    hook.remove()
    yield "debug/tokens", denoiser.tokens(noisy, t).transpose(1, 2)  # particle by particle
    yield "debug/trunk", found["trunk"].unflatten(1, noisy.shape[1:3]).transpose(1, 2)
    yield "denoised", swap(denoised)
    error = (denoised - x).abs()
    yield "loss/loss", (error * swap(inputs["mask"])).mean()
    yield "loss/loss_unmasked", error.mean()
    clean, nothing = model.clean(noisy, t), torch.zeros_like(x)
    yield "posterior/x_start", swap(clean)
    yield "posterior/mean", swap(model.schedule.step(noisy, clean, t, t - 1, nothing))
    spread = model.schedule.step(nothing, nothing, t, t - 1, torch.ones_like(x))[:, :1, :1, :1]
    yield "posterior/variance", spread.square()
    yield "posterior/log_variance", spread.square().clamp_min(1e-20).log()


def schedule(noise: CosineSchedule) -> Iterator[tuple[str, Tensor]]:
    kept = noise.kept.double()
    before = torch.cat([kept.new_ones(1), kept[:-1]])
    beta = 1 - kept / before
    variance = beta * (1 - before) / (1 - kept)
    parts = {
        "alphas_cumprod": kept,
        "betas": beta,
        "posterior_log_variance_clipped": variance.clamp_min(1e-20).log(),
        "posterior_mean_coef1": beta * before.sqrt() / (1 - kept),
        "posterior_mean_coef2": (1 - before) * (1 - beta).sqrt() / (1 - kept),
        "sqrt_alphas_cumprod": kept.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - kept).sqrt(),
    }
    for name, values in parts.items():
        yield f"schedule_1000/{name}", values


def carried_on(video: VideoModel, scenes: Scene, bundle: Bundle) -> Iterator[tuple[str, Tensor]]:
    """Generated scenes, their frames, and what the dynamics make of the first clip."""
    p = scenes.particles
    yield "generated/z", p.position.flip(-1)
    yield "generated/z_scale", p.scale.flip(-1)
    yield "generated/z_depth", p.depth
    yield "generated/z_obj_on", p.transparency
    yield "generated/z_features", p.features
    yield "generated/z_bg_features", scenes.background
    yield "generated/first_frames", video.images(scenes)
    horizon = bundle.hparams["generated_horizon"] - p.position.shape[1]
    yield "generated/video", video.images(rollout(video.dynamics, scenes[:1], horizon))
