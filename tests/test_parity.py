"""Every golden bundle: our model with the official weights gives the official outputs and loss terms.

A bundle holds random weights, inputs, outputs and loss terms of an official model in deterministic mode, in the
official (y, x) order. The folder is named by `DLP_GOLDEN` (default `../shared/golden`).
"""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from dlp_dyn import losses, official

GOLDEN = Path(os.environ.get("DLP_GOLDEN", Path(__file__).parents[2] / "shared" / "golden"))
BUNDLES = sorted(GOLDEN.glob("*.safetensors")) if GOLDEN.is_dir() else []
RELATIVE = 1e-4


def read(path):
    with safe_open(path, "pt") as f:
        tensors = {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118
        hparams = json.loads(f.metadata()["hparams"])

    def part(prefix):
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    return hparams, part("state_dict/"), part("input/"), part("output/")


def assert_close(ours, theirs, name):
    """Within 1e-4 of the largest value of the tensor."""
    theirs = theirs.float().reshape(ours.shape)
    error = (ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6)
    assert error < RELATIVE, f"{name}: {error:.2e}"


def swap(x):
    return x.flip(-1)


@pytest.fixture(params=BUNDLES or [None], ids=lambda p: p.stem if p else "none")
def bundle(request):
    if request.param is None:
        pytest.skip(f"no golden bundles in {GOLDEN}")
    return read(request.param)


def test_outputs_and_losses(bundle):
    hparams, state_dict, inputs, expected = bundle
    if "timestep_horizon" in hparams and hparams["timestep_horizon"] > 1:
        pytest.skip("a video model")
    model, weights = official.load(state_dict, hparams)
    with torch.no_grad():
        encoding = model.encoder(inputs["x"])
        decoded = model.decode(encoding.scene)
        masks = model.masks(encoding.scene, decoded)
        terms = {k: v.mean() for k, v in model.terms(inputs["x"], encoding, decoded).items()}
        total, _ = losses.total(model.terms(inputs["x"], encoding, decoded), weights)
    q, drawn = encoding.posterior, encoding.scene
    p, s = q.particles, drawn.particles
    background = "bg_features" if "mu_bg_features" in expected else "bg"
    pairs = {
        "kp_p": swap(encoding.proposals),
        "z_base": swap(encoding.anchors),
        "z": swap(s.position),
        "mu_offset": swap(p.position.loc - encoding.anchors),
        "logvar_offset": 2 * swap(p.position.scale).log(),
        "mu_scale": swap(p.scale.loc),
        "logvar_scale": 2 * swap(p.scale.scale).log(),
        "z_scale": swap(s.scale),
        "mu_depth": p.depth.loc,
        "logvar_depth": 2 * p.depth.scale.log(),
        "z_depth": s.depth,
        "obj_on_a": p.transparency.concentration1,
        "obj_on_b": p.transparency.concentration0,
        "obj_on": s.transparency,
        "mu_features": p.features.loc,
        "logvar_features": 2 * p.features.scale.log(),
        "z_features": s.features,
        f"mu_{background}": q.background.loc,
        f"logvar_{background}": 2 * q.background.scale.log(),
        f"z_{background}": drawn.background,
        "cropped_objects_original": encoding.glimpses,
        "dec_objects_original": decoded.glimpses[:, :, [3, 0, 1, 2]],
        "alpha_masks": masks,
        "dec_objects": decoded.foreground,
        "bg": decoded.background_weight * decoded.background,
        "rec": decoded.image,
    }
    if "bg_rgb" in expected:
        pairs["bg"] = decoded.background
    pairs["bg"] = decoded.background
    for name, ours in pairs.items():
        assert_close(ours, expected[name], name)

    balance = hparams["kl_balance"]
    loss = {
        "loss_rec": terms["reconstruction"],
        "loss_kl_kp": 0.5 * balance * terms["kl_anchor"] + terms["kl_position"],
        "loss_kl_scale": terms["kl_scale"],
        "loss_kl_depth": terms["kl_depth"],
        "loss_kl_obj_on": terms["kl_transparency"],
        "loss_kl_feat": terms["kl_features"] + terms["kl_background"],
        "obj_on_l1": s.transparency.sum((1, 2)).mean(),
        "loss": total,
    }
    for name, ours in loss.items():
        print(name, float(ours), float(expected[f"loss/{name}"]))
    for name, ours in loss.items():
        assert_close(ours, expected[f"loss/{name}"], name)
