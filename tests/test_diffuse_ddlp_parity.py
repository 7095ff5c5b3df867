"""DiffuseDDLP: every golden bundle of a denoiser, whatever its name, to 1e-4 of each tensor's largest value."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from dlp_dyn.generation.diffusion import ClipDiffusion
from dlp_dyn.generation.packing import ScenePacking
from dlp_dyn.generation.schedule import CosineSchedule
from dlp_dyn.official import diffuse_ddlp
from dlp_dyn.official.diffuse_ddlp import swap

GOLDEN = Path(os.environ.get("DLP_GOLDEN", Path(__file__).parents[2] / "shared" / "golden"))
TOLERANCE = 1e-4


def hparams(path):
    with safe_open(path, "pt") as f:
        return json.loads(f.metadata()["hparams"])


BUNDLES = [p for p in sorted(GOLDEN.rglob("*.safetensors")) if "diffuse_frames" in hparams(p)]


def assert_close(ours, theirs, name):
    theirs = theirs.reshape(ours.shape)
    error = (ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6)
    assert error < TOLERANCE, f"{name}: {error:.2e}"


@pytest.fixture(params=BUNDLES or [None], ids=lambda p: p.stem if p else "none")
def bundle(request):
    """(hparams, state_dict, inputs, outputs), in double precision."""
    if request.param is None:
        pytest.skip(f"no golden bundles of DiffuseDDLP in {GOLDEN}")
    with safe_open(request.param, "pt") as f:
        tensors = {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118
    tensors = {k: v.double() if v.is_floating_point() else v for k, v in tensors.items()}

    def part(prefix):
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    return hparams(request.param), part("state_dict/"), part("input/"), part("output/")


@pytest.fixture(autouse=True)
def double_precision(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def load(bundle):
    h, state_dict, inputs, _ = bundle
    packing = ScenePacking(h["learned_feature_dim"], h["learned_feature_dim"])
    model = ClipDiffusion(diffuse_ddlp.config(h), h["n_kp_enc"], packing)
    converted = {r.ours: r.load([state_dict[k] for k in r.theirs]) for r in diffuse_ddlp.rules(model)}
    missing, unexpected = model.load_state_dict(converted, strict=False)
    assert not unexpected
    assert all(name.startswith("normalizer.") for name in missing)
    statistics = {
        k.removeprefix("latent_stats/"): v for k, v in inputs.items() if k.startswith("latent_stats/")
    }
    diffuse_ddlp.set_statistics(model, statistics)
    return model.eval()


@torch.no_grad()
def test_denoiser_and_loss(bundle):
    model, (_, _, inputs, expected) = load(bundle), bundle
    x, t = swap(inputs["x_start"]), inputs["t"]
    noisy = model.schedule.add_noise(x, swap(inputs["noise"]), t)
    assert_close(swap(noisy), expected["x_t"], "x_t")
    assert_close(model.denoiser.time_code(t), expected["time_embedding"], "time_embedding")
    denoised = model.denoiser(noisy, t)
    assert_close(swap(denoised), expected["denoised"], "denoised")
    error = (denoised - x).abs()
    mask = model.packing.mask(model.n_rows - 1)
    assert_close((error * mask).mean(), expected["loss/loss"], "loss")
    assert_close(error.mean(), expected["loss/loss_unmasked"], "loss_unmasked")


@torch.no_grad()
def test_a_step_back(bundle):
    model, (_, _, inputs, expected) = load(bundle), bundle
    t, nothing = inputs["t"], torch.zeros_like(inputs["x_start"])
    noisy = model.schedule.add_noise(swap(inputs["x_start"]), swap(inputs["noise"]), t)
    clean = model.clean(noisy, t)
    assert_close(swap(clean), expected["posterior/x_start"], "x_start")
    mean = model.schedule.step(noisy, clean, t, t - 1, nothing)
    assert_close(swap(mean), expected["posterior/mean"], "mean")
    spread = model.schedule.step(nothing, nothing, t, t - 1, torch.ones_like(nothing))
    assert_close(spread[:, :1, :1, :1].square(), expected["posterior/variance"], "variance")


@torch.no_grad()
def test_the_whole_chain(bundle):
    model, (h, _, inputs, expected) = load(bundle), bundle
    chain, n = swap(inputs["chain_noise"]), h["diffusion_num_steps"]
    rows = model.denoise(lambda step: chain[n - step])
    assert_close(swap(rows), expected["sample/x"], "sample/x")
    scenes = model.scenes(rows)
    p, official = (
        scenes.particles,
        {k: expected[f"generated/z{k}"] for k in ("", "_scale", "_depth", "_obj_on")},
    )
    assert_close(p.position.flip(-1), official[""], "position")
    assert_close(p.scale.flip(-1), official["_scale"], "scale")
    assert_close(p.depth, official["_depth"], "depth")
    assert_close(p.transparency, official["_obj_on"], "transparency")
    assert_close(p.features, expected["generated/z_features"], "features")
    assert_close(scenes.background, expected["generated/z_bg_features"], "background")


def test_packing_and_normalisation(bundle):
    model, (_, _, _, expected) = load(bundle), bundle
    latents = swap(expected["latents"])
    assert_close(swap(model.normalizer(latents)), expected["latents_normalized"], "latents_normalized")
    assert_close(model.packing.pack(model.packing.unpack(latents)), latents, "packing")
    mask = model.packing.mask(model.n_rows - 1)
    assert_close(mask.expand_as(latents), expected["padding_mask"], "padding_mask")


def test_the_real_schedule(bundle):
    expected = bundle[3]
    kept = CosineSchedule(1000).kept
    assert_close(kept, expected["schedule_1000/alphas_cumprod"], "alphas_cumprod")
    assert_close(kept.sqrt(), expected["schedule_1000/sqrt_alphas_cumprod"], "sqrt")
    assert_close((1 - kept).sqrt(), expected["schedule_1000/sqrt_one_minus_alphas_cumprod"], "noise")
