"""Conversion: there and back, into a run folder, and what it says of files that do not fit."""

import dataclasses
import json

import pytest
import torch

from dlp_dyn import checkpoint, official
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import CompatConfig, DLPConfig
from dlp_dyn.image.model import DLP
from dlp_dyn.objectives.base import weighted_sum
from dlp_dyn.objectives.image_elbo import image_terms

DLPV2 = {
    "beta_kl": 0.1,
    "beta_rec": 1.0,
    "kl_balance": 0.001,
    "enc_channels": [8, 16, 16],
    "prior_channels": [8, 16, 16],
    "image_size": 32,
    "patch_size": 8,
    "n_kp_enc": 4,
    "n_kp_prior": 16,
    "learned_feature_dim": 3,
    "anchor_s": 0.5,
    "scale_std": 0.3,
    "offset_std": 0.2,
    "obj_on_alpha": 0.1,
    "obj_on_beta": 0.1,
}
DLPV3 = {
    "image_size": 32,
    "patch_size": 8,
    "n_kp_enc": 4,
    "anchor_s": 0.5,
    "learned_feature_dim": 3,
    "learned_bg_feature_dim": 2,
    "recon_loss_type": "mse",
    "obj_ch_mult_prior": [1, 2],
    "obj_ch_mult": [1, 2],
    "bg_ch_mult": [1, 1, 2],
    "obj_base_ch": 8,
    "bg_base_ch": 8,
    "obj_final_cnn_ch": 8,
    "mlp_hidden_dim": 64,
    "obj_res_from_fc": 8,
    "bg_res_from_fc": 8,
    "pint_enc_heads": 1,
    "pint_enc_layers": 1,
    "offset_std": 0.2,
    "scale_std": 0.3,
    "obj_on_alpha": 0.01,
    "obj_on_beta": 0.01,
    "beta_kl": 0.1,
    "beta_rec": 1.0,
    "beta_obj": 0.1,
    "kl_balance": 0.01,
}
HPARAMS = {
    "dlpv2": DLPV2,
    "dlpv2_mixer": DLPV2 | {"filtering_heuristic": "none"},
    "dlpv3": DLPV3,
}


def build(hparams):
    cfg = official.config(hparams)[0]
    assert isinstance(cfg, DLPConfig)
    return DLP(cfg)


def load(state_dict, hparams):
    model = official.load(state_dict, hparams)[0]
    assert isinstance(model, DLP)
    return model


@pytest.fixture(params=HPARAMS, ids=list(HPARAMS))
def hparams(request):
    return HPARAMS[request.param]


def test_there_and_back_gives_the_same_weights(hparams):
    torch.manual_seed(0)
    model = build(hparams)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    again = load(official.export(model), hparams)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0, msg=name)


def test_a_permuted_weight_shows(hparams):
    """The permutations are not the identity: swapping x and y of the official scale head changes the output."""
    torch.manual_seed(0)
    model = build(hparams)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    exported = official.export(model)
    key = next(k for k in exported if "scale_xy_head" in k and k.endswith("bias") and len(exported[k]) == 4)
    exported[key] = exported[key][[1, 0, 3, 2]]
    other = load(exported, hparams)
    images = torch.rand(1, 3, 32, 32)
    ours, theirs = model.encode(images).particles.scale.loc, other.encode(images).particles.scale.loc
    assert not torch.allclose(ours, theirs)


def test_convert_writes_a_run_that_loads(hparams, tmp_path):
    model = build(hparams)
    torch.save(official.export(model), tmp_path / "official.pth")
    (tmp_path / "hparams.json").write_text(json.dumps(hparams))
    official.convert(tmp_path / "official.pth", tmp_path / "hparams.json", tmp_path / "run")
    loaded = checkpoint.load_model(tmp_path / "run")
    assert isinstance(loaded, DLP)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(
        loaded.encode(images).background.loc, model.eval().encode(images).background.loc
    )


def test_lean_does_not_go_back():
    with pytest.raises(InputError, match="no official counterpart"):
        official.export(DLP(DLPConfig()))


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_missing_tensor_is_named():
    state = official.export(build(DLPV2))
    del state["fg_module.prior.enc.keymap.bias"]
    with pytest.raises(InputError) as error:
        official.load(state, DLPV2)
    assert "fg_module.prior.enc.keymap.bias" in one_line(error)


def test_wrong_hparams_are_told_apart():
    state = official.export(build(DLPV2))
    with pytest.raises(InputError, match="does the hparams file belong to it"):
        official.load(state, DLPV2 | {"learned_feature_dim": 5})
    with pytest.raises(InputError, match="is this the right file"):
        official.config({"lr": 1e-3})
    with pytest.raises(InputError, match="'beta_kl' is missing"):
        official.config({k: v for k, v in DLPV2.items() if k != "beta_kl"})


def test_files_that_are_not_what_they_should_be(tmp_path):
    hparams, weights = tmp_path / "hparams.json", tmp_path / "weights.pth"
    with pytest.raises(InputError, match="no such file"):
        official.convert(weights, hparams, tmp_path / "run")
    weights.write_bytes(b"not a checkpoint")
    hparams.write_text("{")
    with pytest.raises(InputError, match="not a JSON file"):
        official.convert(weights, hparams, tmp_path / "run")
    for text in ("[[]]", '"x"', "null", "3"):
        hparams.write_text(text)
        with pytest.raises(InputError, match="no settings by their names"):
            official.convert(weights, hparams, tmp_path / "run")
    hparams.write_text(json.dumps(DLPV2))
    with pytest.raises(InputError, match="not a PyTorch state_dict") as error:
        official.convert(weights, hparams, tmp_path / "run")
    one_line(error)
    assert not (tmp_path / "run").exists()


def total(model, weights, images):
    with torch.no_grad():
        encoding = model.encoder(images)
        return weighted_sum(image_terms(model, images, encoding, model.decode(encoding.scene)), weights)[0]


def test_each_quirk_that_is_turned_on_changes_the_loss(hparams):
    cfg, weights = official.config(hparams)
    assert isinstance(cfg, DLPConfig)
    torch.manual_seed(0)
    model, images = DLP(cfg), torch.rand(2, 3, 32, 32)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    official_loss = total(model, weights, images)
    for quirk in dataclasses.fields(CompatConfig):
        if not getattr(cfg.compat, quirk.name):
            continue
        without = dataclasses.replace(
            cfg, compat=dataclasses.replace(cfg.compat, **{quirk.name: quirk.default})
        )
        other = DLP(without)
        if quirk.name == "merge_repeated_widths":  # a layer more
            assert len(other.state_dict()) > len(model.state_dict())
            continue
        other.load_state_dict(model.state_dict(), strict=quirk.name != "scalar_norm")
        assert total(other, weights, images) != official_loss, quirk.name
