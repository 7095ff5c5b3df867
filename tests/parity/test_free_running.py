"""Bundles of DLPv2, DLPv3 and DDLP without the official outputs of any stage, and in single precision."""

import pytest
import torch
from bundles import GOLDEN, PATHS, TOLERANCE, Bundle, kind_of, misfits, read
from kinds import ddlp, dlp

from dlp_dyn import official
from dlp_dyn.objectives.terms import kl_beta
from dlp_dyn.particles import beta
from dlp_dyn.video import VideoModel

_TRACKED = (
    1.5e-3  # of positions in [-1, 1]: a tracker of random weights amplifies rounding from frame to frame
)
OURS = [path for path in PATHS if kind_of(read(path)) in (dlp, ddlp)]


def name(path):
    return str(path.relative_to(GOLDEN)) if path else "none"


@pytest.fixture(params=OURS or [None], ids=name)
def path(request):
    if request.param is None:
        pytest.skip(f"no golden bundles in {GOLDEN}")
    return request.param


def test_losses_in_single_precision(path):
    bundle = read(path)
    kind = kind_of(bundle)
    assert kind is not None
    found = misfits(kind.outputs(bundle), bundle.outputs)
    far = {key: error for key, error in found.items() if key.startswith("loss/") and not error <= TOLERANCE}
    assert not far, far


@pytest.mark.usefixtures("double_precision")
def test_a_clip_is_followed_freely(path):
    bundle = read(path, torch.float64)
    model, _ = official.load(bundle.state_dict, bundle.hparams)
    if not isinstance(model, VideoModel):
        pytest.skip("a model of single images")
    with torch.no_grad():
        tracked, _ = model.double().encode(bundle.inputs["x"])
    ours = tracked.scene.particles.position.flatten(0, 1)
    assert (ours - dlp.Official(bundle).scene.particles.position).abs().max() < _TRACKED


def test_exact_beta_kl_is_within_a_percent_of_the_official_one(path):
    bundle: Bundle = read(path)
    if bundle.inputs["x"].ndim == 5:
        pytest.skip("a clip: its transparencies have both constant and predicted priors")
    a, b = (bundle.outputs[key].flatten(1) for key in ("obj_on_a", "obj_on_b"))
    prior = beta(torch.tensor(bundle.hparams["obj_on_alpha"]), torch.tensor(bundle.hparams["obj_on_beta"]))
    exact = kl_beta(beta(a[..., None], b[..., None]), prior).sum(-1).mean()
    assert abs(exact / bundle.outputs["loss/loss_kl_obj_on"] - 1) < 0.01
