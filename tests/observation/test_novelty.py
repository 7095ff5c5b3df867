"""Novelty: its parts add up, what a model draws wrong is new, and environments tell it."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from worlds import SIDE, Walk

from dlp_dyn.checkpoint import load_model
from dlp_dyn.errors import InputError
from dlp_dyn.image.model import DLP
from dlp_dyn.observation import NoveltyInfo, ParticleObservation
from dlp_dyn.observation.novelty import novelty


@pytest.fixture(scope="module")
def model(run: Path) -> DLP:
    return load_model(run)


def pictures(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def test_parts_add_up(model: DLP) -> None:
    x = pictures()
    found = novelty(model, x, reconstruction=2.0, kl=0.5)
    drawn = model.decode(model.encode(x).mean).image
    torch.testing.assert_close(found.error, 2 * (x - drawn).square().sum((1, 2, 3)))
    torch.testing.assert_close(found.picture, found.error + found.kl)
    assert (found.kl >= 0).all()
    assert found.particles.shape == (4, model.cfg.n_particles)
    assert (found.particles.sum(1) <= found.picture * (1 + 1e-5)).all()  # the rest is the background's


def test_what_is_drawn_as_it_is_has_no_error(model: DLP) -> None:
    x = pictures()
    drawn = model.decode(model.encode(x).mean).image
    torch.testing.assert_close(novelty(model, x, kl=0.0).picture, (x - drawn).square().sum((1, 2, 3)))
    assert torch.equal(novelty(model, x, 0.0, 0.0).picture, torch.zeros(4))


def test_pictures_are_judged_one_by_one(model: DLP) -> None:
    x = pictures()
    together, alone = novelty(model, x), novelty(model, x[2:3])
    torch.testing.assert_close(together.picture[2:3], alone.picture, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cameras", [False, True])
def test_an_environment_tells_it(run: Path, model: DLP, cameras: bool) -> None:
    images = {"front": "front", "back": "back"} if cameras else None
    env = ParticleObservation(
        NoveltyInfo(Walk(cameras), str(run), image="front" if cameras else None), str(run), images=images
    )
    _, info = env.reset(seed=0)
    seen = env.unwrapped._observe()  # pyright: ignore[reportAttributeAccessIssue]
    frame = seen["front"] if cameras else seen
    x = torch.from_numpy(np.asarray(frame)).movedim(-1, 0).float()[None] / 255
    assert info["novelty"] == pytest.approx(float(novelty(model, x).picture), rel=1e-4)
    info = env.step(0)[-1]
    assert info["novelty_particles"].shape == (model.cfg.n_particles,)


def test_pictures_have_to_fit(run: Path) -> None:
    class Blank(gym.Env[np.ndarray, Any]):
        observation_space = gym.spaces.Box(0, 255, (16, 16, 3), np.uint8)
        action_space = gym.spaces.Discrete(2)

        def reset(self, **settings: object) -> tuple[np.ndarray, dict]:  # noqa: ARG002
            return np.zeros((16, 16, 3), np.uint8), {}

    with pytest.raises(InputError, match=r"\(16, 16, 3\), the model reads uint8 of \(32, 32, 3\)"):
        NoveltyInfo(Blank(), str(run)).reset()
