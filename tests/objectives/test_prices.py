"""Prices rise while particles draw more than the target's share, and fall while they draw less."""

import pytest
import torch

from dlp_dyn.objectives.config import UNPRICED, PriceConfig
from dlp_dyn.objectives.prices import PRICED, Prices, drawn_share


def test_without_a_target_terms_stay_as_they_are():
    prices = Prices(UNPRICED)
    terms = {name: torch.tensor([2.0]) for name in (*PRICED, "reconstruction")}
    prices.watch(torch.tensor(0.0))
    assert all(torch.equal(prices(terms)[name], terms[name]) for name in terms)
    assert bool(prices.reached)


def test_prices_follow_the_drawn_share():
    prices = Prices(PriceConfig(target_share=0.6))
    first = float(prices.price)
    for _ in range(20):
        prices.watch(torch.tensor(0.1))
    assert float(prices.price) < first
    assert not prices.reached
    for _ in range(1000):
        prices.watch(torch.tensor(0.9))
    assert float(prices.price) == 1.0
    assert bool(prices.reached)
    terms = prices({"particles": torch.tensor([2.0]), "reconstruction": torch.tensor([3.0])})
    assert terms["reconstruction"].item() == 3.0
    for _ in range(2000):
        prices.watch(torch.tensor(0.0))
    assert float(prices({"particles": torch.tensor([2.0])})["particles"]) == pytest.approx(2e-3)
    assert bool(prices.reached)


def test_the_share_is_of_moving_energy_alone():
    still, moved = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    moved[..., 0, 0] = 0.5
    half = moved * 0.5
    half[..., 3, 3] = 1.0  # an error where nothing moves
    assert drawn_share(moved, moved, moved - still, 0.05).item() == pytest.approx(1)
    assert drawn_share(moved, still, moved - still, 0.05).item() == pytest.approx(0)
    assert drawn_share(moved, half, moved - still, 0.05).item() == pytest.approx(0.75)
