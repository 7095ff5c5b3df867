"""A video model as a Gymnasium vector environment: agents act in what it imagines, as long as that can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from dlp_dyn.dynamics.base import Conditions
from dlp_dyn.errors import InputError
from dlp_dyn.particles import ParticleLayout, Scene, SceneDistribution, mean, sampler
from dlp_dyn.planning.actions import ActionSpace
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.controller import check_actions
from dlp_dyn.planning.costs import Cost
from dlp_dyn.planning.goals import Goal
from dlp_dyn.tree import cat, tree_map
from dlp_dyn.video import VideoModel

Observations = Float[np.ndarray, "B N D"]


@dataclass(frozen=True)
class Trust:
    """When a rollout is no longer believed.

    spread: of predicted positions, root mean square over what is on, in the units of positions. motion: the same of how
    far particles move in a step. objects: more or fewer than at the start.
    """

    spread: float = 0.2
    motion: float = 0.5
    objects: int = 0

    def lost(self, start: Scene, before: Scene, after: SceneDistribution) -> Bool[Tensor, " B"]:
        """In which rollouts (B, ...) the next scene is not to be believed."""
        p, q = before.particles, after.mean.particles
        on = q.visible
        first = start.particles.visible.sum(-1)

        def root_mean_square(x: Tensor) -> Tensor:
            return ((on * x.square().sum(-1)).sum(-1) / on.sum(-1).clamp_min(1)).sqrt()

        return (
            (root_mean_square(after.particles.position.scale) > self.spread)
            | (root_mean_square(q.position - p.position) > self.motion)
            | ((on.sum(-1) - first).abs() > self.objects)
        )


class Imagination(VectorEnv[Observations, Shaped[np.ndarray, "B W"], np.ndarray]):
    """Observations are sets of particles (`ParticleLayout`, all slots), an action is a block of the model's.

    starts: contexts (K, T, N, ...) of up to `window` frames, one of which begins each episode. blocks: of actions
    between them (K, T - 1, W), None for T = 1. goals: bound to the start of each episode; the reward is minus their
    cost, in image sides, of the scene that a step leads to. steps: of an episode at most. sampled: futures are drawn,
    rather than their means.

    Never terminated: particles do not end. Truncated after `steps`, and where `trust` is lost, as `info["lost"]` says.
    A finished episode begins anew at the next step (AutoresetMode.NEXT_STEP), whose action is not looked at.
    Raises InputError for a model without actions, and for starts that do not fit.
    """

    def __init__(
        self,
        model: VideoModel,
        space: ActionSpace,
        starts: Scene,
        goals: Sequence[Goal],
        n_envs: int = 8,
        steps: int = 50,
        blocks: Float[Tensor, "K T1 W"] | None = None,
        trust: Trust | None = None,
        sampled: bool = False,
    ) -> None:
        check_actions(model, space)
        frames = starts.background.shape[1]
        if not 1 <= frames <= model.dynamics.window:
            raise InputError(
                f"starts of {frames} frames: the model looks back on 1 to {model.dynamics.window}"
            )
        if (blocks is None) != (frames == 1):
            raise InputError(
                f"starts of {frames} frames: give the {frames - 1} blocks of actions between them"
            )
        if n_envs < 1 or steps < 1:
            raise InputError(f"n_envs {n_envs}, steps {steps}: use 1 or more")
        self.model, self.space, self.starts, self.goals = model.eval(), space, starts, goals
        self.blocks = starts.background.new_zeros(len(starts.background), 0, space.width)
        if blocks is not None:
            self.blocks = blocks
        self.num_envs, self.steps, self.sampled = n_envs, steps, sampled
        self.trust = trust or Trust()
        self.layout = ParticleLayout(model.cfg.image.feature_dim)
        n = starts.particles.position.shape[2]
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space = gym.spaces.Box(-np.inf, np.inf, (n, self.layout.dim), np.float32)
        low, high = (x.numpy() for x in space.bounds)
        self.single_action_space = gym.spaces.Box(low, high, dtype=np.float32)
        self.observation_space = gym.vector.utils.batch_space(self.single_observation_space, n_envs)
        self.action_space = gym.vector.utils.batch_space(self.single_action_space, n_envs)
        self._generator = torch.Generator()

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002 - Gymnasium's signature
    ) -> tuple[Observations, dict[str, Any]]:
        first = seed[0] if isinstance(seed, list) else seed
        if first is not None:
            self._generator.manual_seed(first)
        drawn = self._draw(self.num_envs)
        self.history, self.actions = self.starts[drawn], self.blocks[drawn]
        self.begun = self.history[:, -1]
        self.costs = [self._bind(row) for row in range(self.num_envs)]
        self.taken = np.zeros(self.num_envs, int)
        self.over = np.zeros(self.num_envs, bool)
        return self._observe(), {}

    @torch.no_grad()
    def step(
        self, actions: Shaped[np.ndarray, "B W"]
    ) -> tuple[Observations, Float[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], dict]:
        again = np.flatnonzero(self.over)
        block = self.space.clip(torch.as_tensor(np.asarray(actions), dtype=torch.float32))
        known = torch.cat([self.actions, block[:, None]], 1)
        dynamics, conditions = self.model.dynamics, Conditions(known)
        state = dynamics.start(self.history, conditions)
        step = dynamics.step(
            self.history, conditions, state, sampler(self._generator) if self.sampled else mean
        )
        scene = step.drawn
        lost = self.trust.lost(self.begun, self.history[:, -1], step.scenes).numpy()
        shift = self.history.map(lambda x: x[:, 1:])
        self.history = cat([shift, scene.map(lambda x: x[:, None])], 1)
        self.actions = known[:, 1:] if known.shape[1] > 1 else known[:, :0]
        reward = np.array([self._reward(row, block) for row in range(self.num_envs)], np.float32)
        self.taken += 1
        truncated = lost | (self.taken >= self.steps)
        if again.size:
            self._begin(again)
            reward[again], truncated[again], lost[again] = 0.0, False, False
        self.over = truncated
        return self._observe(), reward, np.zeros(self.num_envs, bool), truncated, {"lost": lost}

    def _draw(self, n: int) -> Tensor:
        return torch.randint(len(self.starts.background), (n,), generator=self._generator)

    def _begin(self, rows: np.ndarray) -> None:
        drawn, index = self._draw(len(rows)), torch.from_numpy(rows)

        def put(old: Tensor, new: Tensor) -> Tensor:
            return old.index_copy(0, index, new)

        self.history = tree_map(put, self.history, self.starts[drawn])
        self.actions = put(self.actions, self.blocks[drawn])
        self.begun = tree_map(put, self.begun, self.starts[drawn][:, -1])
        for row in rows.tolist():
            self.costs[row] = self._bind(row)
        self.taken[rows] = 0

    def _bind(self, row: int) -> list[Cost]:
        scene = self.history[row : row + 1]
        on = scene.particles.visible[:, -1]
        context = Context(scene, None, torch.arange(on.shape[1])[None], on)
        return [goal.bind(context) for goal in self.goals]

    def _reward(self, row: int, block: Float[Tensor, "B W"]) -> float:
        scene = self.history[row : row + 1, -1:].map(lambda x: x[:, None])
        action = block[row][None, None, None]
        return -float(sum(cost(scene, action).item() for cost in self.costs[row]))

    def _observe(self) -> Observations:
        return self.layout.pack(self.history[:, -1].particles).numpy().astype(np.float32)
