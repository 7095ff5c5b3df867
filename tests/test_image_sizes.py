"""Images and glimpses of any size: either they make a model, or the message says what does."""

import re

import pytest
import torch

from dlp_dyn.clip import Clip
from dlp_dyn.config import load
from dlp_dyn.errors import InputError
from dlp_dyn.image.model import DLP
from dlp_dyn.image.networks import build_networks
from dlp_dyn.objectives.image_elbo import ImageElbo


def loss(settings: list[str]) -> float:
    cfg = load("tiny", ["data.path=x.h5", *settings]).model
    frames = torch.zeros(1, 1, cfg.image_size, cfg.image_size, 3, dtype=torch.uint8)
    terms, _ = ImageElbo(DLP(cfg))(Clip(frames))
    return torch.stack(list(terms.values())).sum().item()


@pytest.mark.parametrize("side", [16, 24, 32, 40, 48, 64, 72, 96, 128])
@pytest.mark.parametrize("fraction", [0.125, 0.2, 0.25, 0.3])
def test_what_the_message_says_makes_a_model(side: int, fraction: float) -> None:
    settings = [f"model.image_size={side}", f"model.glimpse_fraction={fraction}", "model.n_particles=2"]
    for _ in range(4):
        try:
            assert loss(settings) > 0
            return
        except InputError as error:
            settings.append(remedy(error))
    pytest.fail(f"no end of remedies: {settings}")


def remedy(error: InputError) -> str:
    found = re.search(r"add (model\.[\w.]+=[\d.]+)$", str(error))
    assert found, error
    return found[1]


def test_dlpv3_backgrounds_are_doubled_maps() -> None:
    cfg = load("shapes_dlpv3", ["data.path=x.h5", "model.image_size=96", "model.networks.glimpse_start=3"])
    with pytest.raises(InputError, match=r"add model\.networks\.background_start=12"):
        build_networks(cfg.model)


def test_dlpv2_glimpses_are_eight_doubled() -> None:
    cfg = load("shapes_dlpv2", ["data.path=x.h5", "model.image_size=96"])
    with pytest.raises(InputError, match="24 pixels, which is not 8 doubled a few times: change one of them"):
        build_networks(cfg.model)


def test_the_smallest_glimpses_of_dlpv2_are_drawn() -> None:
    """8 pixels: what they are drawn from, not doubled at all."""
    cfg = load("balls_ddlp", ["data.path=x.h5", "model.image_size=32"]).model
    assert cfg.glimpse_size == 8
    glimpses = build_networks(cfg).glimpse_decoder()(torch.zeros(2, cfg.feature_dim))
    assert glimpses.shape == (2, 4, 8, 8)
