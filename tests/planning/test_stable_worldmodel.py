"""The contract of stable-worldmodel's solvers (0.1.1), kept by a double that checks shapes and what is read."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor
from video_runs import write_run

from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.data.images import fit
from dlp_dyn.errors import InputError
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.costs import Prices, over_time
from dlp_dyn.planning.goals import goal_scene
from dlp_dyn.planning.planner import Planner
from dlp_dyn.planning.shooting import Predictor
from dlp_dyn.planning.stable_worldmodel import ParticleCost
from dlp_dyn.video import VideoModel

BOX = gym.spaces.Box(-1, 1, (2,), np.float32)
RNG = np.random.default_rng(0)
PIXELS, GOALS = (RNG.integers(0, 255, (2, 1, 64, 64, 3), np.uint8) for _ in range(2))


class Info(dict[str, Any]):
    """Only pictures may be read: the environment's true state lies beside them."""

    def __getitem__(self, key: str) -> Any:
        assert key in ("pixels", "goal", "dlp_dyn"), f"{key} was read"
        return super().__getitem__(key)


def info(samples: int, floats: bool = False) -> Info:
    """As a solver passes it: expanded over the candidates."""
    found = Info(proprio=torch.zeros(2, samples, 1, 2), goal_state=torch.zeros(2, samples, 1, 2))
    for name, pictures in (("pixels", PIXELS), ("goal", GOALS)):
        tensor = torch.from_numpy(pictures)
        if floats:
            tensor = tensor.movedim(-1, -3).float() / 255
        found[name] = tensor[:, None].expand(2, samples, *tensor.shape[1:])
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> VideoModel:
    model = load_video_model(write_run(tmp_path_factory.mktemp("swm") / "run", action_dim=4, stride=2))
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.dynamics.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def cost(model: VideoModel, **settings: Any) -> ParticleCost:
    return ParticleCost(model, Planner(Predictor(model.dynamics), ActionSpace.of(BOX, 2)), **settings)


def solve(cost: ParticleCost, known: Info, iterations: int = 3) -> Tensor:
    """CEM as that package has it: not clipped, in the dtype of the first parameter."""
    dtype = next(cost.parameters()).dtype
    mean, std = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    rng = torch.Generator().manual_seed(0)
    for _ in range(iterations):
        candidates = (mean[:, None] + std[:, None] * torch.randn(2, 30, 3, 4, generator=rng)).to(dtype)
        candidates[:, 0] = mean
        costs = cost.get_cost(known, candidates)
        assert costs.shape == (2, 30)
        assert costs.dtype == torch.float32
        best = candidates.gather(1, costs.argsort(1)[:, :5, None, None].expand(-1, -1, 3, 4))
        mean, std = best.mean(1), best.std(1)
    return mean


def test_a_solver_finds_plans_and_reads_pictures_alone(model: VideoModel) -> None:
    solve(cost(model), info(30))


def test_pictures_are_encoded_once_a_solve(model: VideoModel, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda *args: calls.append(1) or encode(*args))
    solve(cost(model), info(30), iterations=4)
    assert len(calls) == 3  # both frames of now together, and a goal for each problem


def test_bytes_and_floats_are_the_same(model: VideoModel) -> None:
    plans = torch.randn(2, 5, 3, 4)
    a, b = (cost(model).get_cost(info(5, floats), plans) for floats in (False, True))
    torch.testing.assert_close(a, b)


def test_candidates_are_clipped_and_unscaled(model: VideoModel) -> None:
    plans = 3 * torch.randn(2, 5, 3, 4)
    plain, known = cost(model), info(5)
    torch.testing.assert_close(plain.get_cost(known, plans), plain.get_cost(known, plans.clamp(-1, 1)))
    scaled = cost(model, scaler=(torch.full((4,), 0.1), torch.full((4,), 0.5)))
    torch.testing.assert_close(
        scaled.get_cost(info(5), plans), plain.get_cost(known, (plans * 0.5 + 0.1).clamp(-1, 1))
    )


def test_gradients_reach_the_candidates(model: VideoModel) -> None:
    plans = torch.zeros(2, 2, 3, 4, requires_grad=True)
    cost(model).get_cost(info(2), plans).sum().backward()
    assert plans.grad is not None
    assert plans.grad.abs().max() > 0


def test_it_is_the_cost_that_our_own_planner_has(model: VideoModel) -> None:
    plans = torch.rand(2, 5, 3, 4) * 2 - 1
    theirs = cost(model, prices=Prices(appearance=0.01)).get_cost(info(5), plans)

    side = model.cfg.image.image_size
    for b in range(2):
        small = fit(PIXELS[b, 0], side, None, "x").copy()
        video = torch.from_numpy(small).movedim(-1, 0)[None, None].float() / 255
        with torch.no_grad():
            context = Context.of(model.encode(video)[0].scene, None)
            goal = goal_scene(model, fit(GOALS[b, 0], side, None, "x").copy(), prices=Prices(appearance=0.01))
            scene = Predictor(model.dynamics)(context, plans[b : b + 1])
            ours = over_time(goal.bind(context)(scene, plans[b : b + 1]), "running")
        torch.testing.assert_close(theirs[b], ours[0], rtol=1e-4, atol=1e-5)


def test_what_does_not_fit(model: VideoModel) -> None:
    with pytest.raises(InputError, match="candidates of 6 columns"):
        cost(model).get_cost(info(2), torch.zeros(2, 2, 3, 6))
    wrong = info(2, floats=True)
    wrong["pixels"] = 255 * dict.__getitem__(wrong, "pixels")
    with pytest.raises(InputError, match=r"give them in \[0, 1\]"):
        cost(model).get_cost(wrong, torch.zeros(2, 2, 3, 4))
