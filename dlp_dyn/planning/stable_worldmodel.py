"""Our models in stable-worldmodel's own solvers: what its `get_cost` is asked for (0.1.1), without importing it."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from dlp_dyn.clip import to_images
from dlp_dyn.data.images import fit
from dlp_dyn.errors import InputError
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.costs import DEFAULT, Cost, OverTime, Prices, Separate, over_time
from dlp_dyn.planning.goals import Match, goal_scene
from dlp_dyn.planning.planner import Planner

_CACHE = "dlp_dyn"  # the solver passes the same dict at every iteration of a solve, and only then


class ParticleCost(nn.Module):
    """The cost of candidate plans, from the pictures `pixels` and `goal` of `info` and nothing else in it.

    planner: its predictor and bounds; the search is the solver's. scaler: mean and standard deviation of a policy's
    standardised actions, where it has some. Candidates are clipped to the bounds, which not all solvers do.
    """

    def __init__(
        self,
        model: Any,
        planner: Planner,
        match: Match = "now",
        prices: Prices = DEFAULT,
        over: OverTime = "running",
        scaler: tuple[Float[Tensor, " W"], Float[Tensor, " W"]] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.planner = model.eval().requires_grad_(False), planner
        self.match: Match = match
        self.over: OverTime = over
        self.prices, self.scaler = prices, scaler

    def get_cost(self, info: dict[str, Any], candidates: Float[Tensor, "B S H W"]) -> Float[Tensor, "B S"]:
        """Lower is better; gradients reach the candidates.

        Raises InputError for pictures that are none, and for candidates of another width than the model's blocks.
        """
        if candidates.shape[-1] != self.planner.space.width:
            raise InputError(
                f"candidates of {candidates.shape[-1]} columns, the model's blocks of actions have "
                f"{self.planner.space.width}: set action_block to {self.planner.space.block}"
            )
        if _CACHE not in info:
            info[_CACHE] = self._begin(info)
        context, cost = info[_CACHE]
        actions = candidates.float()
        if self.scaler is not None:
            centre, scale = self.scaler
            actions = actions * scale + centre
        actions = self.planner.space.clip(actions)
        return over_time(cost(self.planner.predictor(context, actions), actions), self.over)

    def criterion(self, info: dict[str, Any], candidates: Float[Tensor, "B S H W"]) -> Float[Tensor, "B S"]:
        """The same; later versions look for this name."""
        return self.get_cost(info, candidates)

    @torch.no_grad()
    def _begin(self, info: dict[str, Any]) -> tuple[Context, Cost]:
        """What is there and what shall be, of every problem: candidates are expanded copies of them."""
        now = np.stack([self._picture(row[0, -1], "pixels") for row in info["pixels"]])
        video = to_images(now)[:, None]
        context = Context.of(self.model.encode(video)[0].scene, None, self.model.dynamics.any_number)
        costs = []
        for b, row in enumerate(info["goal"]):
            goal = goal_scene(self.model, self._picture(row[0, -1], "goal"), self.match, self.prices)
            costs.append(goal.bind(context[b : b + 1]))
        return context, Separate(costs)

    def _picture(self, image: Tensor | np.ndarray, name: str) -> UInt8[np.ndarray, "H W 3"]:
        """Bytes with channels last, or floats in [0, 1] with channels first; shrunk to the side of the model."""
        array = np.asarray(image)
        if array.ndim != 3 or 3 not in (array.shape[0], array.shape[-1]):
            raise InputError(f"{name}: shape {array.shape} is no picture")
        if array.dtype != np.uint8:
            if array.min() < 0 or array.max() > 1:
                raise InputError(
                    f"{name}: values from {array.min():.3g} to {array.max():.3g}: give them in [0, 1]"
                )
            array = (array * 255).round().astype(np.uint8)
        if array.shape[-1] != 3:
            array = array.transpose(1, 2, 0)
        return fit(np.ascontiguousarray(array), self.model.cfg.image.image_size, None, name).copy()
