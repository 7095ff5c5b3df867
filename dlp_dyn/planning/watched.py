"""Real environments, seen as an imagination is: the twin to train beside it, and to evaluate in."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from dlp_dyn.clip import to_images
from dlp_dyn.particles import Particles, Scene
from dlp_dyn.planning.actions import set_spaces
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.delivery import Delivery, observations
from dlp_dyn.planning.goals import goal_scene, partners
from dlp_dyn.planning.planner import Planner
from dlp_dyn.planning.stage import Stage
from dlp_dyn.tracking.state import State
from dlp_dyn.tree import tree_map
from dlp_dyn.video import VideoModel

Observations = Float[np.ndarray, "B D"]
Rows = Int[Tensor, " R"]


class Watched(VectorEnv[Observations, Shaped[np.ndarray, "B W"], np.ndarray]):
    """Environments that are looked at through a video model, which pose deliveries by their goal pictures.

    An action is a block of the model's; the frame after it is looked at. things: that are delivered; of the goal
    picture's particles the most visible ones, and to each the particle of now that looks most like it. steps: blocks
    of an episode at most; it ends as well where the environment ends it, and begins anew in the same step.
    `info["is_success"]` is what the environment says at an episode's end.
    """

    def __init__(
        self, model: VideoModel, planner: Planner, stages: Sequence[Stage], things: int, steps: int
    ) -> None:
        self.model, self.planner, self.stages, self.steps = model.eval(), planner, stages, steps
        self.num_envs, self.things = len(stages), things
        set_spaces(self, observations(things), planner.space)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002 - Gymnasium's signature
    ) -> tuple[Observations, dict[str, Any]]:
        self._seeds = np.random.default_rng(seed[0] if isinstance(seed, list) else seed)
        self.taken = np.zeros(self.num_envs, int)
        self.slots = torch.zeros(self.num_envs, 1 + self.things, dtype=torch.int64)
        self.places = torch.zeros(self.num_envs, self.things, 2)
        self._begin(np.arange(self.num_envs))
        return self._observe(), {}

    @torch.no_grad()
    def step(
        self, actions: Shaped[np.ndarray, "B W"]
    ) -> tuple[Observations, Float[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], dict]:
        space = self.planner.space
        blocks = space.single(space.clip(torch.as_tensor(np.asarray(actions), dtype=torch.float32))).numpy()
        frames = [self._play(stage, block) for stage, block in zip(self.stages, blocks, strict=True)]
        self.scene, self.state = self._look(np.stack(frames), self.state)
        reward = Delivery(self.places).reward(self._now()).numpy().astype(np.float32)
        self.taken += 1
        truncated = np.array([stage.done for stage in self.stages]) | (self.taken >= self.steps)
        success = np.array([bool(stage.success) for stage in self.stages])
        info: dict[str, Any] = {"is_success": success & truncated}
        if truncated.any():
            info |= {"final_obs": self._observe(), "_final_obs": truncated}
            self._begin(np.flatnonzero(truncated))
        return self._observe(), reward, np.zeros(self.num_envs, bool), truncated, info

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002 - Gymnasium's signature
        for stage in self.stages:
            stage.close()

    def _play(self, stage: Stage, block: Float[np.ndarray, "k A"]) -> np.ndarray:
        first, *more = block
        frame = stage.step(first)
        for action in more:
            if not stage.done:
                frame = stage.step(action)
        return frame

    def _look(self, frames: np.ndarray, state: State) -> tuple[Scene, State]:
        encoding, state = self.model.encode(to_images(frames)[:, None], state)
        return encoding.scene[:, 0], state

    @torch.no_grad()
    def _begin(self, rows: np.ndarray) -> None:
        chosen = [self.stages[i] for i in rows]
        frames = [
            stage.reset(int(seed))
            for stage, seed in zip(chosen, self._seeds.integers(2**31, size=len(rows)), strict=True)
        ]
        scene, state = self._look(np.stack(frames), None)
        index = torch.from_numpy(rows)
        if len(rows) == self.num_envs:
            self.scene, self.state = scene, state
        else:

            def put(old: Tensor, new: Tensor) -> Tensor:
                return old.index_copy(0, index, new)

            self.scene, self.state = tree_map(put, self.scene, scene), tree_map(put, self.state, state)
        self.slots[index], self.places[index] = self._errands(chosen, scene)
        self.taken[rows] = 0

    def _errands(
        self, stages: Sequence[Stage], scene: Scene
    ) -> tuple[Int[Tensor, "R K"], Float[Tensor, "R P 2"]]:
        """What acts and the things, by their slots, and the places of the things."""
        context = Context.of(scene.map(lambda x: x[:, None]), None, any_number=False)
        actor = self.planner.actor(context)
        others = context.on.scatter(1, actor[:, None], False)
        goals = [goal_scene(self.model, stage.goal()).particles for stage in stages]
        goal = tree_map(lambda *x: torch.cat(x), *goals)
        best = goal.transparency[..., 0].topk(self.things, 1).indices
        goal = goal.map(lambda x: x.take_along_dim(best[..., None], 1))
        index, found = partners(goal, goal.visible, context.now, others)
        # A thing without a particle is taken to be at its place: there is nothing to be done for it.
        places = torch.where(
            found[..., None], goal.position, context.now.position.take_along_dim(index[..., None], 1)
        )
        return torch.cat([actor[:, None], index], 1), places

    def _now(self) -> Particles:
        return self.scene.particles.map(lambda x: x.take_along_dim(self.slots[..., None], 1))

    def _observe(self) -> Observations:
        return Delivery(self.places).observe(self._now()).numpy().astype(np.float32)
