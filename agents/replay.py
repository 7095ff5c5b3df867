"""GoalReplayBuffer: one observation a step, goals by index, hindsight as it is sampled."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Bool, Float, Int
from stable_baselines3.common.buffers import BaseBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from agents import stored_replay
from dlp_dyn.errors import InputError
from dlp_dyn.settings import parse_json

Reward = Callable[[np.ndarray, np.ndarray], Float[np.ndarray, " B"]]
RewardEach = Callable[[np.ndarray, np.ndarray], Float[np.ndarray, "B K"]]
Storage = Literal["float16", "float32", "uint8"]
SAVED = (
    "observations",
    "achieved",
    "actions",
    "terminated",
    "first",
    "last",
    "is_goal",
    "valid",
    "head",
    "is_open",
)
UNREACHED = (
    0.75  # of the relabelled goals, where they are asked for; the others show how to leave things as they are
)
DRAWS = 4  # of other steps for those whose goals were reached already
POOL = 16  # steps of a draw for each that is wanted: where chance plays, few steps are followed by anything
OF_ENVIRONMENTS = ("head", "is_open")  # one value for each environment; the others have rows


class GoalSamples(NamedTuple):
    """What SB3's buffers give, and beside it `steps`: after how many of them the episode went on to reach the goal.

    Infinity where it did not, where nobody knows, and for goals that do not count as reached even so, as of what fell.
    K is 1, or the number of objects that have a reward of their own. same_rows: goals of later in the episode, whose
    rows are of the things in those of the observation (the last ones).
    """

    observations: dict[str, Tensor]
    actions: Float[Tensor, "B A"]
    next_observations: dict[str, Tensor]
    dones: Float[Tensor, "B 1"]
    rewards: Float[Tensor, "B K"]
    steps: Float[Tensor, "B 1"]
    same_rows: Bool[Tensor, " B"]
    discounts: None = None  # SB3's SAC asks for those of several steps


class GoalReplayBuffer(ReplayBuffer):
    """A ring of rows for each environment; an episode is its goal, its first observation, and one row a step.

    So every observation is kept once, and goals are rows: the episode's own one, or for `her` of the samples that of
    a step still to come (HER "future", arXiv 1707.01495). Rewards are not stored but computed from what was achieved
    and what was desired. Nothing that is stored is ever written to again.

    reward: `(achieved, desired) -> (B,)`. reward_each: `-> (B, K)`, of each object, which samples have in its place;
    `reward` then only says what is reached. states: infos hold `achieved_state` and `desired_state`, which are kept
    beside the observations, and the reward is of those; otherwise it is of observations. goals: what is relabelled,
    rows of "observations" or of "states". unreached: three quarters of the steps with relabelled goals are ones that
    have not reached them, that is, of which the reward is below 0.
    each: of the relabelled goals the share in which every object has its goal from another step. kept: in those, the
    share of the objects that keep the goal of their episode, so that one is seen to arrive while another is still
    away. dtype: how
    observations are stored; default: as they come.

    Raises InputError for a space without `observation` and `desired_goal`, for goals that are not shaped like what
    they are relabelled with, and for an episode that does not fit.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,  # noqa: ARG002 - SB3's signature; it always does
        *,
        reward: Reward,
        states: tuple[int, ...] | None = None,
        goals: Literal["observations", "states"] = "observations",
        her: float = 0.8,
        unreached: bool = False,
        each: float = 0.0,
        kept: float = 0.0,
        reward_each: RewardEach | None = None,
        dtype: Storage | None = None,
        seed: int = 0,
    ) -> None:
        BaseBuffer.__init__(self, buffer_size, observation_space, action_space, device, n_envs)
        observation = _box(observation_space, "observation")
        desired = _box(observation_space, "desired_goal")
        if goals == "states" and states is None:
            raise InputError("replay: goals are relabelled with states; say their shape")
        source = observation.shape if goals == "observations" else states
        if desired.shape != source:
            raise InputError(
                f"replay: goals are {desired.shape}, but {goals} {source}: hindsight needs both of one shape"
            )
        if not (0 <= her <= 1 and 0 <= each <= 1 and 0 <= kept <= 1):
            raise InputError(f"replay: her is {her}, each {each}, kept {kept}; give shares, 0 to 1")
        if each and goals != "states":
            raise InputError(
                f"replay: each is {each}, but goals are {goals}, which do not tell objects apart: give each=0"
            )
        if kept and not each:
            raise InputError(
                f"replay: kept is {kept}, but no goals are put together: give each above 0, or kept=0"
            )
        self.reward, self.goals, self.her, self.unreached = reward, goals, her, unreached
        self.each, self.kept = each, kept
        self.reward_each = reward_each
        self.rng = np.random.default_rng(seed)
        self.rows = max(buffer_size // n_envs, 1)
        self.buffer_size = self.rows  # as SB3 counts
        shape = (self.rows, n_envs)
        self.observations = np.zeros((*shape, *observation.shape), dtype or observation.dtype)
        self.achieved = None if states is None else np.zeros((*shape, *states), np.float32)
        self.actions = np.zeros((*shape, self.action_dim), np.float32)
        self.terminated = np.zeros(shape, bool)
        # Rows are counted on and on; modulo `rows` they are places in the ring.
        self.first = np.zeros(shape, np.int64)  # the goal row of the episode of a row
        self.last = np.zeros(shape, np.int64)  # at a goal row: the newest row of its episode
        self.is_goal = np.zeros(shape, bool)
        self.valid = np.zeros(shape, bool)  # a step begins at the row, and its episode is still whole
        self.head = np.zeros(n_envs, np.int64)  # the row to be written next
        self.is_open = np.zeros(n_envs, bool)  # an episode goes on
        self._candidates: Int[np.ndarray, " V"] | None = None

    @property
    def bytes_per_transition(self) -> int:
        """Of a row; an episode takes two rows more than it has steps."""
        rows = [array for name, array in self._arrays().items() if name not in OF_ENVIRONMENTS]
        return sum(array.nbytes for array in rows) // (self.rows * self.n_envs)

    def size(self) -> int:
        """Steps that can be sampled, in SB3's units (a step of all environments)."""
        return int(self.valid.sum()) // self.n_envs

    def add(  # pyright: ignore[reportIncompatibleMethodOverride]  # SB3's dictionary buffers differ too
        self,
        obs: dict[str, np.ndarray],
        next_obs: dict[str, np.ndarray],
        action: np.ndarray,
        reward: np.ndarray,  # noqa: ARG002 - it follows from the goal
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """One step of every environment, as SB3 hands it over: `next_obs` of a done one is its last observation."""
        fresh = np.flatnonzero(~self.is_open)
        if fresh.size:
            self._open(fresh, obs, infos)
        envs = np.arange(self.n_envs)
        here = (self.head - 1) % self.rows
        first = self.first[here, envs]
        too_long = self.head - first >= self.rows
        if too_long.any():
            raise InputError(
                f"replay: an episode of more than {self.rows - 2} steps does not fit; "
                f"give a buffer_size of {self.n_envs} times its length or more"
            )
        self.actions[here, envs] = action.reshape(self.n_envs, -1)
        timeout = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        self.terminated[here, envs] = done & ~timeout
        there = self._advance(envs)
        self.first[there, envs] = first
        self.observations[there, envs] = next_obs["observation"]
        if self.achieved is not None:
            self.achieved[there, envs] = [info["achieved_state"] for info in infos]
        self.last[first % self.rows, envs] = self.head - 1
        self.valid[here, envs] = True
        self.is_open &= ~done.astype(bool)
        self._candidates = None

    def end_episodes(self, envs: Int[np.ndarray, " E"]) -> None:
        """What comes next from these environments begins new episodes."""
        self.is_open[envs] = False

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> GoalSamples:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Steps with equal chance, the first `her` of the batch with goals from later in their episodes."""
        assert env is None, "particles have a normaliser of their own"
        if self._candidates is None:
            self._candidates = np.flatnonzero(self.valid)
        if not self._candidates.size:
            raise InputError("replay: nothing to sample; let learning start after the first steps")
        n_virtual = int(self.her * batch_size)
        here, envs, goal = self._draw(batch_size)
        goal[:n_virtual] = self._future(here[:n_virtual], envs[:n_virtual])
        if self.unreached:
            self._replace_reached(here, envs, goal, int(UNREACHED * n_virtual))
        return self._samples(here, envs, goal, n_virtual, int(self.each * n_virtual))

    def _draw(self, n: int) -> tuple[Int[np.ndarray, " B"], Int[np.ndarray, " B"], Int[np.ndarray, " B"]]:
        """Steps with equal chance: places, environments, and the goal rows of their episodes."""
        assert self._candidates is not None
        here, envs = np.unravel_index(self.rng.choice(self._candidates, n), self.valid.shape)
        return here, envs, self.first[here, envs]

    def _replace_reached(
        self,
        here: Int[np.ndarray, " B"],
        envs: Int[np.ndarray, " B"],
        goal: Int[np.ndarray, " B"],
        n: int,
    ) -> None:
        """Puts others in the place of those of the first `n` steps that have reached their goals, if any are found."""
        again = np.flatnonzero(self._reached(here[:n], envs[:n], goal[:n]))
        for _ in range(DRAWS):
            if not again.size:
                return
            others, theirs, _ = self._draw(POOL * again.size)
            later = self._future(others, theirs)
            found = np.flatnonzero(~self._reached(others, theirs, later))[: again.size]
            replaced, again = again[: found.size], again[found.size :]
            here[replaced], envs[replaced], goal[replaced] = others[found], theirs[found], later[found]

    def _reached(
        self, here: Int[np.ndarray, " B"], envs: Int[np.ndarray, " B"], goal: Int[np.ndarray, " B"]
    ) -> Bool[np.ndarray, " B"]:
        evaluated = self.observations if self.achieved is None else self.achieved
        return self.reward(evaluated[here, envs], evaluated[goal % self.rows, envs]) >= 0

    def _future(self, here: Int[np.ndarray, " B"], envs: Int[np.ndarray, " B"]) -> Int[np.ndarray, " B"]:
        """For each step a row after it in its episode, any with equal chance."""
        first = self.first[here, envs]
        row = first + (here - first) % self.rows
        return self.rng.integers(row + 1, self.last[first % self.rows, envs] + 1)

    def _samples(
        self,
        here: Int[np.ndarray, " B"],
        envs: Int[np.ndarray, " B"],
        goal: Int[np.ndarray, " B"],
        n_virtual: int = 0,
        n_mixed: int = 0,
    ) -> GoalSamples:
        """The first `n_virtual` have goals from later in their episodes, the first `n_mixed` of them goals that are put
        together."""
        there = (here + 1) % self.rows
        evaluated = self.observations if self.achieved is None else self.achieved
        ahead, goal = (goal - here) % self.rows, goal % self.rows
        wanted = evaluated[goal, envs]
        steps = np.full(len(here), np.inf, np.float32)
        known = slice(n_mixed, n_virtual)
        if n_virtual > n_mixed:
            steps[known] = np.where(self.reward(wanted[known], wanted[known]) >= 0, ahead[known], np.inf)
        if n_mixed:
            wanted[:n_mixed] = self._mixed(here[:n_mixed], envs[:n_mixed])
        reached = evaluated[there, envs]
        if self.reward_each is None:
            reward = self.reward(reached, wanted)[:, None]
        else:
            reward = self.reward_each(reached, wanted)
        if self.goals == "observations":
            wanted = self.observations[goal, envs]
        desired = self._tensor(wanted)
        return GoalSamples(
            {"observation": self._tensor(self.observations[here, envs]), "desired_goal": desired},
            self._tensor(self.actions[here, envs]),
            {"observation": self._tensor(self.observations[there, envs]), "desired_goal": desired},
            self._tensor(self.terminated[here, envs].astype(np.float32)[:, None]),
            self._tensor(reward.astype(np.float32)),
            self._tensor(steps[:, None]),
            torch.arange(len(here), device=self.device) < n_virtual,
        )

    def _mixed(self, here: Int[np.ndarray, " B"], envs: Int[np.ndarray, " B"]) -> Float[np.ndarray, "B N D"]:
        """Goals in which each object is where it will be at another later step, so one may have to stay as it is, or
        where the goal of the episode has it."""
        assert self.achieved is not None
        own = self.first[here, envs] % self.rows
        rows = [
            np.where(self.rng.random(len(here)) < self.kept, own, self._future(here, envs) % self.rows)
            for _ in range(self.achieved.shape[2])
        ]
        return np.stack([self.achieved[row, envs, i] for i, row in enumerate(rows)], 1)

    def _tensor(self, array: np.ndarray) -> Tensor:
        """Pictures stay bytes, as SB3's networks expect."""
        return torch.as_tensor(
            array if array.dtype == np.uint8 else array.astype(np.float32), device=self.device
        )

    def _open(
        self, envs: Int[np.ndarray, " E"], obs: dict[str, np.ndarray], infos: list[dict[str, Any]]
    ) -> None:
        """Writes the goal and the first observation of new episodes."""
        goal_row = self.head[envs]
        place = self._advance(envs)
        self.first[place, envs] = self.last[place, envs] = goal_row
        self.is_goal[place, envs] = True
        if self.goals == "observations":
            self.observations[place, envs] = obs["desired_goal"][envs]
        if self.achieved is not None:
            self.achieved[place, envs] = [infos[i]["desired_state"] for i in envs]
        place = self._advance(envs)
        self.first[place, envs] = goal_row
        self.observations[place, envs] = obs["observation"][envs]
        if (
            self.achieved is not None
        ):  # what a reset achieved nobody tells: taken to be what the first step did
            self.achieved[place, envs] = [infos[i]["achieved_state"] for i in envs]
        self.is_open[envs] = True

    def _advance(self, envs: Int[np.ndarray, " E"]) -> Int[np.ndarray, " E"]:
        """The next places in the rings. An episode whose goal is overwritten is gone as a whole."""
        place = self.head[envs] % self.rows
        for at, env in zip(place[self.is_goal[place, envs]], envs[self.is_goal[place, envs]], strict=True):
            gone = np.arange(int(self.first[at, env]), int(self.last[at, env]) + 1) % self.rows
            self.valid[gone, env] = False
        self.is_goal[place, envs] = False
        self.valid[place, envs] = False
        self.head[envs] += 1
        return place

    def save(self, stream: IO[bytes]) -> None:
        """All that was stored, and the state of the random generator, as npz without pickle."""
        ring = self._arrays()
        others = {name: ring.pop(name) for name in OF_ENVIRONMENTS}
        others |= {"rows": np.array(self.rows), "random": np.array(json.dumps(self.rng.bit_generator.state))}
        stored_replay.save(stream, ring, min(int(self.head.max()), self.rows), **others)

    def load(self, path: Path) -> None:
        """Brings back what `save` wrote. Raises InputError where it does not fit."""
        stored = stored_replay.load(path, self._arrays(), "rows", self.rows)
        self.rng.bit_generator.state = parse_json(str(stored["random"]))
        self._candidates = None

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: array for name in SAVED if (array := getattr(self, name)) is not None}


def _box(space: spaces.Dict, key: str) -> spaces.Box:
    box = space.spaces.get(key)
    if not isinstance(box, spaces.Box):
        raise InputError(
            f"replay: '{key}' is missing in the observation; there are {', '.join(space.spaces)}"
        )
    return box
