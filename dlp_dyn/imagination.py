"""A video model as a Gymnasium vector environment: agents act in what it imagines, as long as that can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from dlp_dyn.dynamics.base import Conditions, Step
from dlp_dyn.errors import InputError
from dlp_dyn.particles import ParticleLayout, Particles, Scene, SceneDistribution, mean, sampler
from dlp_dyn.planning.actions import ActionSpace, set_spaces
from dlp_dyn.planning.context import Context
from dlp_dyn.planning.controller import check_actions
from dlp_dyn.planning.costs import Separate, Sum
from dlp_dyn.planning.goals import Goal
from dlp_dyn.tree import cat, tree_map
from dlp_dyn.video import VideoModel

Observations = Float[np.ndarray, "B ..."]
Rows = Int[Tensor, " R"]


@runtime_checkable
class Aims(Protocol):
    """What episodes are about, and what an agent is told."""

    def space(self, starts: Scene) -> gym.spaces.Box:
        """Of the observations of episodes that begin with such contexts."""
        ...

    def begin(self, rows: Rows, starts: Scene, generator: torch.Generator) -> None:
        """Episodes begin in these rows. starts: their contexts (R, T, N, ...)."""
        ...

    def observe(self, now: Particles) -> Float[Tensor, "B ..."]: ...

    def reward(self, now: Scene, blocks: Float[Tensor, "B W"]) -> Float[Tensor, " B"]:
        """Of the scenes (B, ...) that blocks of actions led to."""
        ...


class Goals:
    """The same goals in all episodes, bound to the start of each. Observations are sets of particles
    (`ParticleLayout`, all slots); the reward is minus the cost of the goals, in image sides."""

    def __init__(self, goals: Sequence[Goal]) -> None:
        self.goals = goals
        self.costs: dict[int, Sum] = {}

    def space(self, starts: Scene) -> gym.spaces.Box:
        p = starts.particles
        shape = (p.position.shape[2], ParticleLayout(p.features.shape[-1]).dim)
        return gym.spaces.Box(-np.inf, np.inf, shape, np.float32)

    def begin(self, rows: Rows, starts: Scene, generator: torch.Generator) -> None:  # noqa: ARG002 - Aims
        for i, row in enumerate(rows.tolist()):
            scene = starts[i : i + 1]
            on = scene.particles.visible[:, -1]
            context = Context(scene, None, torch.arange(on.shape[1])[None], on)
            self.costs[row] = Sum([goal.bind(context) for goal in self.goals])

    def observe(self, now: Particles) -> Float[Tensor, "B N D"]:
        return ParticleLayout(now.features.shape[-1]).pack(now)

    def reward(self, now: Scene, blocks: Float[Tensor, "B W"]) -> Float[Tensor, " B"]:
        cost = Separate([self.costs[row] for row in range(len(blocks))])
        return -cost(now.map(lambda x: x[:, None, None]), blocks[:, None, None])[:, 0, 0]


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
    """Episodes that a video model imagines. An action is a block of the model's.

    starts: contexts (K, T, N, ...) of up to `window` frames, one of which begins each episode. blocks: of actions
    between them (K, T - 1, W), None for T = 1. aims: what is seen of the particles, and what is rewarded. steps: of an
    episode at most. sampled: futures are drawn, rather than their means.

    Never terminated: particles do not end. Truncated after `steps`, and where `trust` is lost, as `info["lost"]` says.
    A finished episode begins anew in the same step (AutoresetMode.SAME_STEP): its last observation is in
    `info["final_obs"]`, in the rows of `info["_final_obs"]`.
    Raises InputError for a model without actions, and for starts that do not fit.
    """

    def __init__(
        self,
        model: VideoModel,
        space: ActionSpace,
        starts: Scene,
        aims: Aims,
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
        self.model, self.space, self.starts, self.aims = model.eval(), space, starts, aims
        self.blocks = starts.background.new_zeros(len(starts.background), 0, space.width)
        if blocks is not None:
            self.blocks = blocks
        self.num_envs, self.steps, self.sampled = n_envs, steps, sampled
        self.trust = trust or Trust()
        set_spaces(self, aims.space(starts), space)
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
        self.taken = np.zeros(self.num_envs, int)
        self._begin(torch.arange(self.num_envs))
        return self._observe(), {}

    @torch.no_grad()
    def step(
        self, actions: Shaped[np.ndarray, "B W"]
    ) -> tuple[Observations, Float[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], dict]:
        block = self.space.clip(torch.as_tensor(np.asarray(actions), dtype=torch.float32))
        self.actions = torch.cat([self.actions, block[:, None]], 1)
        lost = torch.zeros(self.num_envs, dtype=torch.bool)
        now = self.now
        for n in self.seen.unique().tolist():  # frames that a row has seen since its episode began
            rows = (self.seen == n).nonzero()[:, 0]
            before = self.now[rows]
            step = self._imagine(self.history[rows, -n:], self.actions[rows, -n:])
            lost[rows] = self.trust.lost(self.begun[rows], before, step.scenes)
            now = tree_map(lambda old, new, rows=rows: old.index_copy(0, rows, new), now, step.drawn)
        self.history = cat([self.history[:, 1:], now.map(lambda x: x[:, None])], 1)
        self.actions = self.actions[:, 1:]
        self.seen = (self.seen + 1).clamp_max(self.model.dynamics.window)
        reward = self.aims.reward(now, block).numpy().astype(np.float32)
        self.taken += 1
        info: dict[str, Any] = {"lost": lost.numpy()}
        truncated = info["lost"] | (self.taken >= self.steps)
        if truncated.any():
            info |= {"final_obs": self._observe(), "_final_obs": truncated}
            self._begin(torch.from_numpy(np.flatnonzero(truncated)))
        return self._observe(), reward, np.zeros(self.num_envs, bool), truncated, info

    @property
    def now(self) -> Scene:
        """The scenes (B, N, ...) that the episodes have come to."""
        return self.history[:, -1]

    def _imagine(self, history: Scene, actions: Float[Tensor, "R T W"]) -> Step:
        dynamics, conditions = self.model.dynamics, Conditions(actions)
        draw = sampler(self._generator) if self.sampled else mean
        return dynamics.step(history, conditions, dynamics.start(history, conditions), draw)

    def _begin(self, rows: Rows) -> None:
        """Histories are as long as the model looks back; before an episode's first frame they hold it again."""
        drawn = torch.randint(len(self.starts.background), (len(rows),), generator=self._generator)
        starts, blocks = self.starts[drawn], self.blocks[drawn]
        frames = starts.background.shape[1]
        missing = self.model.dynamics.window - frames
        padded = cat([starts[:, :1]] * missing + [starts], 1)
        known = torch.cat([blocks.new_zeros(len(rows), missing, self.space.width), blocks], 1)
        if len(rows) == self.num_envs:
            self.history, self.actions = padded, known
            self.begun, self.seen = starts[:, -1], torch.full((len(rows),), frames)
        else:

            def put(old: Tensor, new: Tensor) -> Tensor:
                return old.index_copy(0, rows, new)

            self.history = tree_map(put, self.history, padded)
            self.begun = tree_map(put, self.begun, starts[:, -1])
            self.actions = put(self.actions, known)
            self.seen[rows] = frames
        self.taken[rows.numpy()] = 0
        self.aims.begin(rows, starts, self._generator)

    def _observe(self) -> Observations:
        return self.aims.observe(self.now.particles).numpy().astype(np.float32)
