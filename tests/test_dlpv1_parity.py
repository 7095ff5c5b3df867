"""DLPv1: every golden bundle of a KeyPointVAE, whatever its name, to 1e-4 of each tensor's largest value."""

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from dlp_dyn import geometry
from dlp_dyn.image.keypoint_vae.model import KeypointVAE
from dlp_dyn.official import dlpv1

GOLDEN = Path(os.environ.get("DLP_GOLDEN", Path(__file__).parents[2] / "shared" / "golden"))
TOLERANCE = 1e-4


class Bundle(NamedTuple):
    hparams: dict
    state_dict: dict[str, Tensor]
    inputs: dict[str, Tensor]
    expected: dict[str, Tensor]


def hparams(path):
    with safe_open(path, "pt") as f:
        return json.loads(f.metadata()["hparams"])


def read(path):
    with safe_open(path, "pt") as f:
        tensors = {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118

    def part(prefix):
        found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        return {k: v.double() if v.is_floating_point() else v for k, v in found.items()}

    return Bundle(hparams(path), part("state_dict/"), part("input/"), part("output/"))


BUNDLES = [p for p in sorted(GOLDEN.rglob("*.safetensors")) if "dec_bone" in hparams(p)]


def assert_close(ours, theirs, name):
    theirs = theirs.reshape(ours.shape)
    error = (ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-6)
    assert error < TOLERANCE, f"{name}: {error:.2e}"


@pytest.fixture(params=BUNDLES or [None], ids=lambda p: p.stem if p else "none")
def bundle(request):
    if request.param is None:
        pytest.skip(f"no golden bundles of DLPv1 in {GOLDEN}")
    return read(request.param)


@pytest.fixture(autouse=True)
def double_precision(monkeypatch):
    """Everything in double precision, where the model asks for single too: what is left is the bundles' rounding."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def load(bundle):
    model = KeypointVAE(dlpv1.config(bundle.hparams))
    converted = {r.ours: r.load([bundle.state_dict[k] for k in r.theirs]) for r in dlpv1.rules(model)}
    model.load_state_dict(converted)
    return model.eval()


def log_variance(distribution):
    return 2 * distribution.scale.log()


@torch.no_grad()
def test_outputs(bundle):
    model, x, expected = load(bundle), bundle.inputs["x"], bundle.expected
    seen_by_prior = bundle.inputs.get("x_prior", x)
    encoding = model.encode(x)
    decoded = model.decode(encoding)
    ours = {
        "proposals_all": model.prior.in_image(model.prior.all(seen_by_prior)).flip(-1),
        "kp_p": model.prior(seen_by_prior).flip(-1),
        "mu": encoding.position_posterior.loc.flip(-1),
        "logvar": log_variance(encoding.position_posterior).flip(-1),
        "heatmap": encoding.heat_map,
        "encode_all/mu_features": encoding.features_posterior.loc,
        "encode_all/logvar_features": log_variance(encoding.features_posterior),
        "debug/decoder": decoded.background,
        "rec": decoded.image,
        "gmap": model.decoder_maps(encoding),
    }
    if decoded.glimpses is not None:
        ours["obj_on"] = encoding.transparency
        ours["dec_objects_original"] = decoded.glimpses[:, :, [3, 0, 1, 2]]
        ours["dec_objects"] = decoded.foreground
    for name, tensor in ours.items():
        assert_close(tensor, expected[name], name)


@torch.no_grad()
def test_the_graph_and_its_first_layer(bundle):
    model, expected = load(bundle), bundle.expected
    encoding = model.encode(bundle.inputs["x"])
    pointnet, found = model.pointnet, {}
    pointnet.layers[0].register_forward_hook(lambda _module, args, out: found.update(graph=args[2], out=out))
    maps = pointnet(encoding.position, encoding.features)
    n_nodes = encoding.position.shape[1]
    first = torch.arange(len(maps))[:, None, None] * n_nodes
    nodes = first + torch.arange(n_nodes)[:, None].expand_as(found["graph"])
    edges = {*zip((first + found["graph"]).flatten().tolist(), nodes.flatten().tolist(), strict=True)}
    assert edges == {*map(tuple, expected["debug/edge_index"].T.tolist())}
    assert_close(found["out"], expected["debug/conv1"].relu(), "conv1")  # recorded before its activation
    assert_close(maps, expected["debug/pointnet"], "pointnet")


def test_thin_plate_splines(bundle):
    if "tps/weights" not in bundle.inputs:
        pytest.skip("this bundle warps nothing")
    weights, expected = bundle.inputs["tps/weights"], bundle.expected
    grid = geometry.warp_grid(weights, expected["tps/image"].shape[-1])
    assert_close(grid[None], expected["tps/grid"], "grid")
    n = len(expected["tps/image"])
    assert_close(
        geometry.warp(bundle.inputs["x"][:n], weights.expand(n, -1, -1)), expected["tps/image"], "image"
    )


def test_there_and_back(bundle):
    model = load(bundle)
    own = model.state_dict()
    for rule in dlpv1.rules(model):
        for key, tensor in zip(rule.theirs, rule.save(own[rule.ours]), strict=True):
            torch.testing.assert_close(tensor, bundle.state_dict[key], rtol=0, atol=0, msg=key)
