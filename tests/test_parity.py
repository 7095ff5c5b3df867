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
from dlp_dyn.video import VideoModel, flat_encoding

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


def frames_as_images(model, images):
    """An image model's encoding, pictures and loss terms; of a video model's clips too, frame after frame."""
    if not isinstance(model, VideoModel):
        encoding = model.encoder(images)
        decoded = model.decode(encoding.scene)
        return model, encoding, decoded, model.terms(images, encoding, decoded)
    clips, _ = model.encode(images)
    encoding = flat_encoding(clips)
    terms, _ = model.terms(images, clips)
    return model.image, encoding, model.decode(encoding.scene), terms


def test_outputs_and_losses(bundle):
    hparams, state_dict, inputs, expected = bundle
    model, weights = official.load(state_dict, hparams)
    with torch.no_grad():
        image, encoding, decoded, terms = frames_as_images(model, inputs["x"])
        masks = image.masks(encoding.scene, decoded)
        total, _ = losses.total(terms, weights)
        terms = {k: v.mean() for k, v in terms.items()}
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

    frames = inputs["x"].shape[1] if isinstance(model, VideoModel) else 1
    terms = {k: frames * v for k, v in terms.items()}
    if isinstance(model, VideoModel):
        terms["reconstruction"] = terms["reconstruction"] + terms["reconstruction_dynamic"]
        terms["kl_background"] = terms["kl_background"] / model.cfg.image.background_dim
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
    if isinstance(model, VideoModel):
        loss["kl_dyn"] = sum(v for k, v in terms.items() if k.startswith("dynamic_"))
    for name, ours in loss.items():
        assert_close(ours, expected[f"loss/{name}"], name)


def test_dynamics_and_rollout(bundle):
    hparams, state_dict, inputs, expected = bundle
    model, _ = official.load(state_dict, hparams)
    if not isinstance(model, VideoModel):
        pytest.skip("a model of single images")
    with torch.no_grad():
        encoding, _ = model.encode(inputs["x"])
        predicted = model.dynamics(encoding.scene[:, :-1])
    p = predicted.particles
    pairs = {
        "mu_dyn": swap(p.position.loc),
        "logvar_dyn": 2 * swap(p.position.scale).log(),
        "mu_scale_dyn": swap(p.scale.loc),
        "logvar_scale_dyn": 2 * swap(p.scale.scale).log(),
        "mu_depth_dyn": p.depth.loc,
        "logvar_depth_dyn": 2 * p.depth.scale.log(),
        "obj_on_a_dyn": p.transparency.concentration1,
        "obj_on_b_dyn": p.transparency.concentration0,
        "mu_features_dyn": p.features.loc,
        "logvar_features_dyn": 2 * p.features.scale.log(),
        "mu_bg_dyn": predicted.background.loc,
        "logvar_bg_dyn": 2 * predicted.background.scale.log(),
    }
    context, horizon = hparams["cond_steps"], hparams["num_steps"]
    scene = model.predict(inputs["x_sample"][:, :context], horizon)
    q = scene.particles
    pairs |= {
        "sample/z_pos": swap(q.position),
        "sample/z_scale": swap(q.scale),
        "sample/z_depth": q.depth,
        "sample/z_obj_on": q.transparency,
        "sample/z_features": q.features,
        "sample/z_bg_features": scene.background,
        "sample/rec": model.images(scene),
    }
    for name, ours in pairs.items():
        assert_close(ours, expected[name], name)
