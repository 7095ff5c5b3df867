"""Goal-conditioned pushing of one to six objects, seen from above."""

from typing import Any, cast, get_args

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from dlp_dyn.errors import InputError
from envs.drawing import PALETTE, Painter
from envs.table import FOOTPRINTS, PUSHER_RADIUS, Shape, Table
from envs.tasks import ORDERED_AT_MOST, SORT_RADIUS, Setting, Task, draw_setting, layout_of

FEATURES = ("x", "y", "cos", "sin", "on_table", "red", "green", "blue")
STEPS_AN_OBJECT = 50
MAX_OBJECTS = len(PALETTE)
SUCCESS_DISTANCE = 0.1
SUCCESS_ANGLE = 0.3

Observation = dict[str, Shaped[np.ndarray, "..."]]


class PushEnv(gym.Env[Observation, Float[np.ndarray, " 2"]]):
    """
    ## Description
    A white disc pushes coloured objects over a table to goals. Physics is pymunk's, in two dimensions, with
    strong damping: what is not pushed stops at once. The tasks are those of ECRL (Haramati et al., 2024,
    "Entity-Centric Reinforcement Learning for Object Manipulation from Pixels"), but not its simulator:
    figures cannot be compared. Registered as `Push-v0`: `gym.make("envs:Push-v0", n_objects=3)`.

    Lengths are those of the picture, as for particles: -1 and 1 are the centres of its first and last pixel,
    y points down.

    ## Action space
    `Box(-1, 1, (2,), float32)`

    | Num | Action | Meaning of 1 |
    |---|---|---|
    | 0 | pusher along x | 0.1 to the right |
    | 1 | pusher along y | 0.1 downwards |

    The pusher stops at the picture's border and before what it cannot move.

    ## Observation space
    A `Dict` in the manner of `GoalEnv`; float32. Row i of both goals is object i.

    | Key | Shape | Meaning |
    |---|---|---|
    | observation | (1 + N, 8) | the pusher, then the objects |
    | achieved_goal | (N, 8) | the objects |
    | desired_goal | (N, 8) | the objects as they should be |
    | pixels | (H, W, 3) uint8 | picture; only with `pixels=True` |
    | goal_pixels | (H, W, 3) uint8 | picture of the goals, without the pusher; only with `pixels=True` |

    | Column | 0, 1 | 2, 3 | 4 | 5, 6, 7 |
    |---|---|---|---|---|
    | Meaning | x, y | cosine, sine of the angle | 1 on the table, 0 fallen | red, green, blue |
    | Range | [-1, 1] | [-1, 1] | {0, 1} | [0, 1] |

    Goals have no angle where it does not count: of discs and squares it is (0, 0).

    `HerReplayBuffer` may relabel goals; it leaves `goal_pixels` as they were, so use it without `pixels`.

    ## Rewards
    `dense`: minus the mean cost of the objects, in [-1, 0]. The cost is the distance to the goal over the table's
    diagonal; for T-shapes the mean of that and `|sin(angle / 2)|` of the angle that is missing. What fell costs
    1, whatever the goal, so losing an object never pays.
    `sparse`: 0 when all objects succeed, otherwise -1.
    `each`: minus the share of the objects that do not succeed; with one object the same as `sparse`.

    An object succeeds within 0.1 of its goal (`sort`: 0.25) and, if it is a T, within 0.3 rad. `info` has
    `object_success` (N,) and `is_success` (all of them).

    ## Starting state
    Objects lie apart, at random angles, each 0.3 or more from its goal; the pusher touches none.

    | `task` | Goals |
    |---|---|
    | free | anywhere, apart from one another |
    | adjacent | side by side |
    | ordered | one behind another in a corridor, in random order: the deepest has to come first; N is 3 at most |
    | sort | a spot for each colour, which two objects share; the picture shows one of them there |

    ## Episode end
    Never terminated; truncated after `time_limit` steps.

    ## Arguments
    n_objects: 1 to 6. shape: "disc", "square", or "tee" (the angle counts). small_table: no rim, so that objects
    fall off and are gone from the picture; not with `ordered` and `sort`. random_colours: other colours in
    each episode, from the same six. easy: share of episodes, for a curriculum, in which no goal is far from its object,
    nor the pusher from an object; not with `ordered` and `sort`. image_size: pixels a side. time_limit: steps, by
    default 50 an object.
    Raises InputError for arguments that do not go together.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's own

    def __init__(
        self,
        n_objects: int = 1,
        task: str = "free",
        shape: str = "square",
        small_table: bool = False,
        random_colours: bool = False,
        easy: float = 0.0,
        reward: str = "dense",
        pixels: bool = False,
        image_size: int = 64,
        time_limit: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        _check("task", task, get_args(Task))
        _check("shape", shape, get_args(Shape))
        _check("reward", reward, ("dense", "sparse", "each"))
        _check("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        most = ORDERED_AT_MOST if task == "ordered" else MAX_OBJECTS
        if not 1 <= n_objects <= most:
            raise InputError(f"n_objects {n_objects}: use 1 to {most} with the task {task}")
        if small_table and task in ("ordered", "sort"):
            raise InputError(f"small_table: the task {task} needs the whole table; leave it out")
        if not 0 <= easy <= 1 or (easy and task in ("ordered", "sort")):
            raise InputError(f"easy {easy}: give a share, 0 to 1, and 0 with the tasks ordered and sort")
        if shape == "tee" and task in ("ordered", "sort"):
            raise InputError(f"shape tee: the task {task} is for square and disc")
        if image_size < 16 or (time_limit is not None and time_limit < 1):
            raise InputError(
                f"image_size {image_size}, time_limit {time_limit}: use 16 or more and 1 or more"
            )

        self.n_objects = n_objects
        self.task: Task = cast(Task, task)
        self.shape: Shape = cast(Shape, shape)
        self.easy = easy
        self.random_colours, self.reward, self.pixels = random_colours, reward, pixels
        self.render_mode = render_mode
        self.time_limit = time_limit or STEPS_AN_OBJECT * n_objects
        self.footprint = FOOTPRINTS[self.shape]
        self.layout = layout_of(self.task, small_table)
        self.success_distance = SORT_RADIUS if task == "sort" else SUCCESS_DISTANCE
        self.painter = Painter(image_size, self.layout, self.footprint)

        def rows(n: int) -> gym.spaces.Box:
            low = np.array([-1, -1, -1, -1, 0, 0, 0, 0], np.float32)
            return gym.spaces.Box(np.tile(low, (n, 1)), 1.0, (n, len(FEATURES)), np.float32)

        spaces: dict[str, gym.Space] = {
            "observation": rows(1 + n_objects),
            "achieved_goal": rows(n_objects),
            "desired_goal": rows(n_objects),
        }
        if pixels:
            for key in ("pixels", "goal_pixels"):
                spaces[key] = gym.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        self.observation_space: gym.Space = gym.spaces.Dict(spaces)
        self.action_space: gym.Space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        easy = self.easy > 0 and self.np_random.random() < self.easy
        self.setting: Setting = draw_setting(
            self.np_random, self.task, self.n_objects, self.footprint, self.layout, easy
        )
        order = self.np_random.permutation(MAX_OBJECTS) if self.random_colours else np.arange(MAX_OBJECTS)
        self.colours: UInt8[np.ndarray, "N 3"] = PALETTE[order[self.setting.groups]]
        self.table = Table(self.layout, self.footprint, self.setting.poses, self.setting.pusher)
        self.desired_goal = self._goal(self._rows(self.setting.goals, np.ones(self.n_objects, bool)))
        self.goal_pixels = self.render_goal() if self.pixels else None
        self.steps = 0
        observation = self._observe()
        return observation, self._info(observation)

    def step(self, action: Float[np.ndarray, " 2"]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self.table.step(np.clip(np.asarray(action, np.float64), -1, 1))
        self.steps += 1
        observation = self._observe()
        info = self._info(observation)
        reward = self.compute_reward(observation["achieved_goal"], observation["desired_goal"], info)
        return observation, float(reward), False, self.steps >= self.time_limit, info

    def trial(self, actions: Float[np.ndarray, "S T 2"]) -> Float[np.ndarray, "S T N 2"]:
        """Where the objects and (last) the pusher would be after each action of each of S attempts from here.

        The contacts of now are forgotten, so that places differ a little (1e-3) from those that `step` would give.
        """
        places = np.empty((*actions.shape[:2], self.n_objects + 1, 2), np.float32)
        for attempt, ways in zip(places, np.clip(actions.astype(np.float64), -1, 1), strict=True):
            table = self.table.copy()
            for t, way in enumerate(ways):
                table.step(way)
                attempt[t] = np.clip(np.vstack([table.poses[:, :2], table.pusher]), -1, 1)
        return places

    def render(self) -> UInt8[np.ndarray, "H W 3"]:
        """The picture of now, whatever the render mode."""
        table = self.table
        return self.painter.draw(table.poses, self.colours, table.on_table, table.pusher)

    def render_goal(self) -> UInt8[np.ndarray, "H W 3"]:
        """The picture of the goals, without the pusher."""
        shown = np.ones(self.n_objects, bool)
        if self.task == "sort":
            _, first = np.unique(self.setting.groups, return_index=True)
            shown = np.isin(np.arange(self.n_objects), first)
        return self.painter.draw(self.setting.goals, self.colours, shown, None)

    def compute_reward(
        self,
        achieved_goal: Float[np.ndarray, "*B N 8"],
        desired_goal: Float[np.ndarray, "*B N 8"],
        info: Any,  # noqa: ARG002 - GoalEnv's signature; the reward depends on the goals alone
    ) -> Float[np.ndarray, "*B"] | np.float64:
        """The reward, of one pair of goals or of many; equal to the last bit, in float64."""
        if self.reward == "sparse":
            return self.object_success(achieved_goal, desired_goal).all(-1) - 1.0
        if self.reward == "each":
            return self.object_success(achieved_goal, desired_goal).sum(-1) / self.n_objects - 1.0
        distance, chord = _errors(achieved_goal, desired_goal)
        cost = distance / (2 * np.sqrt(2) * self.layout.half_width)
        if self.shape == "tee":
            cost = (cost + chord / 2) / 2
        cost = np.where(_both_on_table(achieved_goal, desired_goal), np.minimum(cost, 1), 1.0)
        total = cost[..., 0]
        for i in range(1, self.n_objects):  # one by one: the order in which NumPy sums depends on the shape
            total = total + cost[..., i]
        return -total / self.n_objects

    def object_success(
        self, achieved_goal: Float[np.ndarray, "*B N 8"], desired_goal: Float[np.ndarray, "*B N 8"]
    ) -> Bool[np.ndarray, "*B N"]:
        """Which objects are where they should be."""
        distance, chord = _errors(achieved_goal, desired_goal)
        success = (distance < self.success_distance) & _both_on_table(achieved_goal, desired_goal)
        return success & (chord < 2 * np.sin(SUCCESS_ANGLE / 2)) if self.shape == "tee" else success

    def ground_truth(self) -> dict[str, np.ndarray]:
        """The objects and the pusher (last) as rollout files keep them (`dlp_dyn.data.writer.Episode`)."""
        rows = np.concatenate([self._rows(self.table.poses, self.table.on_table), self._pusher_row()])
        radius = np.append(np.full(self.n_objects, self.footprint.radius), PUSHER_RADIUS)
        return {
            "position": rows[:, :2],
            "size": np.repeat(radius[:, None], 2, axis=1).astype(np.float32),
            "colour": rows[:, 5:],
            "visible": rows[:, 4] > 0,
            "masks": self.painter.masks(self.table.poses, self.table.on_table, self.table.pusher),
        }

    def _observe(self) -> Observation:
        objects = self._rows(self.table.poses, self.table.on_table)
        observation: Observation = {
            "observation": np.concatenate([self._pusher_row(), objects]),
            "achieved_goal": self._goal(objects),
            "desired_goal": self.desired_goal.copy(),
        }
        if self.goal_pixels is not None:
            observation |= {"pixels": self.render(), "goal_pixels": self.goal_pixels.copy()}
        return observation

    def _info(self, observation: Observation) -> dict[str, Any]:
        success = self.object_success(observation["achieved_goal"], observation["desired_goal"])
        return {"is_success": bool(success.all()), "object_success": success}

    def _rows(
        self, poses: Float[np.ndarray, "N 3"], on_table: Bool[np.ndarray, " N"]
    ) -> Float[np.ndarray, "N 8"]:
        rows = np.empty((len(poses), len(FEATURES)), np.float32)
        rows[:, :2] = np.clip(poses[:, :2], -1, 1)
        rows[:, 2], rows[:, 3] = np.cos(poses[:, 2]), np.sin(poses[:, 2])
        rows[:, 4] = on_table
        rows[:, 5:] = self.colours / 255
        return rows

    def _goal(self, rows: Float[np.ndarray, "N 8"]) -> Float[np.ndarray, "N 8"]:
        """Rows of objects without what does not count: (0, 0) for the angle, but of a tee.

        With it, an agent that learns from goals that it achieved takes an object that never turned for one at its goal.
        """
        if self.shape == "tee":
            return rows
        goal = rows.copy()
        goal[:, 2:4] = 0
        return goal

    def _pusher_row(self) -> Float[np.ndarray, "1 8"]:
        x, y = np.clip(self.table.pusher, -1, 1)
        return np.array([[x, y, 1, 0, 1, 1, 1, 1]], np.float32)


def _errors(
    achieved: Float[np.ndarray, "*B N 8"], desired: Float[np.ndarray, "*B N 8"]
) -> tuple[Float[np.ndarray, "*B N"], Float[np.ndarray, "*B N"]]:
    """Distance, and the chord `2 |sin(angle / 2)|` of the angle between: both without library calls that round
    differently for long arrays than for short ones."""
    gap = achieved[..., :4].astype(np.float64) - desired[..., :4].astype(np.float64)
    square = gap * gap
    return np.sqrt(square[..., 0] + square[..., 1]), np.sqrt(square[..., 2] + square[..., 3])


def _both_on_table(
    achieved: Float[np.ndarray, "*B N 8"], desired: Float[np.ndarray, "*B N 8"]
) -> Bool[np.ndarray, "*B N"]:
    return (achieved[..., 4] > 0.5) & (desired[..., 4] > 0.5)


def _check(name: str, value: str | None, known: tuple[str | None, ...]) -> None:
    if value not in known:
        raise InputError(f"{name} {value!r}: use one of {', '.join(map(str, known))}")
