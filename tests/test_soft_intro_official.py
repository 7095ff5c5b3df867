"""Official weights of Soft-IntroVAE are told by their names, and come back as they were."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dlp_dyn import cli
from dlp_dyn.errors import InputError
from dlp_dyn.official import soft_intro as official
from dlp_dyn.soft_intro.config import ImageConfig, SoftIntroConfig
from dlp_dyn.soft_intro.families import build, load
from dlp_dyn.soft_intro.model import IntroVAE

GAME = {"beta_rec": 1.0, "beta_kl": 0.5, "beta_neg": 8.0, "gamma_r": 0.0, "scale": 0.1}
IMAGES = GAME | {"image_size": 16, "channels": 1, "network_channels": [4, 4, 6], "z_dim": 3}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "densities_2d": ("encoder.main.input.weight", GAME | {"hidden": 8, "hidden_layers": 2, "z_dim": 2}),
    "point_clouds": (
        "encoder.mu_layer.weight",
        GAME
        | {
            "n_points": 10, "encoder_widths": [4, 4, 6, 6, 8], "fc": 5, "decoder_widths": [4, 4, 6, 8], "z_dim": 3,
            "prior_std": 0.2,
        },
    ),
    "style": (
        "mapping_fl.map_blocks.0.fc.weight",
        GAME
        | {
            "resolution": 8, "latent": 4, "start_channels": 4, "max_channels": 8, "mapping_layers": 2,
            "mapping_to_latent_layers": 2,
        },
    ),
    "images": ("encoder.main.0.weight", IMAGES),
}  # fmt: skip


@pytest.mark.parametrize("variant", FAMILIES)
def test_weights_of_every_family_are_told_by_name_and_read_back(variant: str) -> None:
    sign, h = FAMILIES[variant]
    model = build(official.config([sign], h))
    pace = official.factors(model)
    theirs = {name: model.state_dict()[ours] * pace.get(ours, 1.0) for ours, name in official.names(model)}
    assert official.variant(theirs) == variant
    again = official.load(theirs, h).state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(again[name], weight)


def test_a_target_decoder_makes_it_the_bootstrap_variant() -> None:
    cfg = official.config(["encoder.main.0.weight", "target_decoder.fc.0.weight"], IMAGES)
    assert cfg.game.target_every == 1
    assert official.config(["encoder.main.0.weight"], IMAGES).game.target_every == 0


def test_skips_of_equal_widths_may_be_convolutions() -> None:
    """As in official weights of several blocks of 512, whose code compared widths by identity."""
    own = ImageConfig(16, 1, [4, 4, 6], 3, "batch", convolved_skips=True)
    model = build(SoftIntroConfig(images=own))
    theirs = {name: model.state_dict()[ours] for ours, name in official.names(model)}
    assert "encoder.main.res_in_8.conv_expand.weight" in theirs
    again = official.load(theirs, IMAGES)
    assert again.cfg.images == own
    x = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(again.encode(x).loc, model.eval().encode(x).loc)


def official_weights(variant: str) -> tuple[IntroVAE, dict[str, Tensor]]:
    sign, h = FAMILIES[variant]
    model = build(official.config([sign], h))
    pace = official.factors(model)
    return model, {
        name: model.state_dict()[ours] * pace.get(ours, 1.0) for ours, name in official.names(model)
    }


@pytest.mark.parametrize("variant", FAMILIES)
def test_the_command_makes_a_run_of_official_weights(variant: str, tmp_path: Path) -> None:
    """As official files hold them: under `model`, or those of the style variant in a section for each network."""
    model, theirs = official_weights(variant)
    held: dict[str, Any] = {"epoch": 3, "model": theirs}
    if variant == "style":
        parts = {"encoder": "discriminator", "decoder": "generator"}
        held = {}
        for name, x in theirs.items():
            part, rest = name.split(".", 1)
            held.setdefault(parts.get(part, part), {})[rest] = x
    torch.save(held, tmp_path / "official.pth")
    (tmp_path / "h.json").write_text(json.dumps(FAMILIES[variant][1]))
    command = ["convert", str(tmp_path / "official.pth"), "--hparams", str(tmp_path / "h.json"), "--out"]
    assert cli.main([*command, str(tmp_path / "run")]) == 0
    again = load(tmp_path / "run").state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(again[name], weight)
    assert cli.main(["generate", str(tmp_path / "run"), "--out", str(tmp_path / "x.png")]) == 0


def test_weights_and_hyper_parameters_that_do_not_fit_are_one_line() -> None:
    _, theirs = official_weights("images")
    with pytest.raises(InputError, match="hparams: 'z_dim' is missing"):
        official.load(theirs, {name: x for name, x in IMAGES.items() if name != "z_dim"})
    with pytest.raises(InputError, match=r"tensor encoder\.fc\.weight is \[6, 24\], expected \[8, 24\]"):
        official.load(theirs, IMAGES | {"z_dim": 4})
    del theirs["decoder.fc.0.bias"]
    with pytest.raises(InputError, match=r"tensor decoder\.fc\.0\.bias is missing"):
        official.load(theirs, IMAGES)


def test_other_weights_are_none_of_them() -> None:
    assert official.variant(["encoder.fc.weight", "particles.weight"]) is None
