"""Official weights of Soft-IntroVAE are told by their names, and come back as they were."""

from typing import Any

import pytest
import torch

from dlp_dyn.official import soft_intro as official
from dlp_dyn.soft_intro.config import ImageConfig, SoftIntroConfig
from dlp_dyn.soft_intro.families import build

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


def test_other_weights_are_none_of_them() -> None:
    assert official.variant(["encoder.fc.weight", "particles.weight"]) is None
