"""TwoRoom of stable-worldmodel, as the field's goal-reaching protocol plays it: a disc that slides along walls."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Float, UInt8

from dlp_dyn.errors import InputError
from envs.world_model import WorldModelEnv

SIDE = 224
RED, BLACK, WHITE = (255, 0, 0), (0, 0, 0), (255, 255, 255)
SPEED = 5.0  # pixels of 224 that an action of 1 moves
RADIUS = 7.0
WALLS = (
    (107.0, -1e3, 117.0, 35.0),
    (107.0, 63.0, 117.0, 1e3),
)  # left, top, right, bottom; the door is between them
DOOR = np.array([112.0, 49.0])
REACH = (21.0, 203.0)  # of the centre
ROOMS = (
    (REACH[0], WALLS[0][0] - RADIUS),
    (WALLS[0][2] + RADIUS, REACH[1]),
)  # of x of the centre, left and right
NEAR, NEARER = 16.0, 8.0  # of the goal, for success
_GAP = 1e-4  # before a contact
_CONTACTS = 4  # in a step, at most

Point = Float[np.ndarray, "2"]


class TwoRoom(WorldModelEnv):
    """
    ## Description
    A red dot in two rooms with a door between them, drawn by stable-worldmodel (0.1.1, default looks). Registered as
    `TwoRoom-v0`; extra `swm`. Physics is that of CLEAR-LeWM's evaluation, v0.5: a disc of radius 7 of 224 pixels moves
    to its first contact with a wall and slides on along it.

    ## Action space
    `Box(-1, 1, (2,), float32)`: 1 is 5 of 224 pixels to the right, or down.

    ## Observation space
    `Box(0, 255, (image_size, image_size, 3), uint8)`. `info` has `state` and `goal_state` in pixels of 224,
    `goal`, a picture, and `is_success`: within 16 pixels; `is_near`: within 8. Colours are red, green and blue, 0 to
    255: those of dot, wall and ground may differ from the wheel's.

    ## Starting state
    Dot and goal are uniform, in opposite rooms; `options` may hold `state` and `goal_state`, in pixels of 224.

    ## Episode end
    Never terminated, and truncated by whoever plays.
    """

    def __init__(
        self,
        image_size: int = 64,
        render_mode: str = "rgb_array",
        agent_colour: Sequence[float] | str = RED,
        wall_colour: Sequence[float] | str = BLACK,
        background_colour: Sequence[float] | str = WHITE,
    ) -> None:
        def make() -> Any:
            from stable_worldmodel.envs.two_room.env import TwoRoomEnv  # pyright: ignore[reportMissingImports]

            return TwoRoomEnv()

        super().__init__(make, image_size, render_mode)
        colours = {"agent": agent_colour, "wall": wall_colour, "background": background_colour}
        self.colours = {name: _rgb(name, colour) for name, colour in colours.items()}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8[np.ndarray, "H W 3"], dict[str, Any]]:
        super().reset(seed=seed)
        self.inner.reset(seed=0)  # default looks
        for name, colour in self.colours.items():
            self.inner.variation_space[name]["color"].set_value(colour)
        start, goal = far_pair(self.np_random)
        options = options or {}
        self.goal = np.asarray(options.get("goal_state", goal), float)
        self._goal_picture = self._draw(self.goal)
        self.position = np.asarray(options.get("state", start), float)
        return self.render(), self._info()

    def step(self, action: Point) -> tuple[UInt8[np.ndarray, "H W 3"], float, bool, bool, dict[str, Any]]:
        self.position = slide(self.position, SPEED * np.clip(np.asarray(action, float), -1, 1))
        return self.render(), 0.0, False, False, self._info()

    def trial(self, actions: Float[np.ndarray, "S T 2"]) -> Float[np.ndarray, "S T 2"]:
        """Where the dot would be after each action of each of S attempts from here, in pixels of 224."""
        places = np.empty(actions.shape)
        for attempt, ways in zip(places, SPEED * np.clip(actions.astype(float), -1, 1), strict=True):
            position = self.position
            for t, way in enumerate(ways):
                attempt[t] = position = slide(position, way)
        return places

    def render(self) -> UInt8[np.ndarray, "H W 3"]:
        return self._draw(self.position)

    def ground_truth(self) -> dict[str, np.ndarray]:
        """The dot as rollout files keep it (`dlp_dyn.data.writer.Episode`)."""
        return {
            "position": in_picture(self.position, self.image_size)[None],
            "visible": np.ones(1, bool),
        }

    def _draw(self, position: Point) -> UInt8[np.ndarray, "H W 3"]:
        import torch

        picture = self.inner._render_frame(agent_pos=torch.as_tensor(position, dtype=torch.float32))
        return self._shrunk(picture.numpy().transpose(1, 2, 0))

    def _info(self) -> dict[str, Any]:
        far = float(np.linalg.norm(self.position - self.goal))
        return {
            "state": self.position.copy(),
            "goal_state": self.goal.copy(),
            "goal": self._goal_picture.copy(),
            "is_success": far < NEAR,
            "is_near": far < NEARER,
        }


def _rgb(name: str, colour: Sequence[float] | str) -> UInt8[np.ndarray, "3"]:
    values = np.asarray(colour)
    if values.shape != (3,) or values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
        raise InputError(
            f"TwoRoom: {name}_colour {colour}: use three whole numbers from 0 to 255, as in [0,0,255]"
        )
    return values.astype(np.uint8)


def in_picture(position: Point, image_size: int, side: int = SIDE) -> Float[np.ndarray, "2"]:
    """Pixels of a picture of `side` in the units of particles, in a picture of `image_size`."""
    pixel = (position + 0.5) / side * image_size - 0.5
    return (2 * pixel / (image_size - 1) - 1).astype(np.float32)


def far_pair(rng: np.random.Generator) -> tuple[Point, Point]:
    """A start and a goal, uniform in opposite rooms."""
    sides = rng.permutation(2)
    start, goal = (np.array([rng.uniform(*ROOMS[side]), rng.uniform(*REACH)]) for side in sides)
    return start, goal


def slide(position: Point, way: Point) -> Point:
    """Where a disc comes that moves to its first contact and goes on with what is left along the wall."""
    for _ in range(_CONTACTS):
        contact = min(_contacts(position, way), key=lambda c: c[0], default=None)
        if contact is None:
            position = position + way
            break
        t, normal = contact
        long = float(np.linalg.norm(way))
        position = position + way * max(t - _GAP / long, 0.0)
        way = (1 - t) * way
        way = way - (way @ normal) * normal
        if np.linalg.norm(way) < _GAP:
            break
    return np.clip(position, *REACH)


def _contacts(position: Point, way: Point) -> Iterator[tuple[float, Point]]:
    """When, from 0 to 1 of the way, and with which normals a disc touches walls that it moves into."""
    for left, top, right, bottom in WALLS:
        low, high = np.array([left, top]), np.array([right, bottom])
        for axis in (0, 1):
            if way[axis] == 0:
                continue
            sign = np.sign(way[axis])
            at = low[axis] - RADIUS if sign > 0 else high[axis] + RADIUS
            t = (at - position[axis]) / way[axis]
            across = position[1 - axis] + t * way[1 - axis]
            if 0 <= t <= 1 and low[1 - axis] <= across <= high[1 - axis]:
                normal = np.zeros(2)
                normal[axis] = -sign
                yield float(t), normal
        for corner in (np.array([x, y]) for x in (left, right) for y in (top, bottom)):
            apart = position - corner
            a, b, c = way @ way, apart @ way, apart @ apart - RADIUS**2
            root = b * b - a * c
            if b < 0 and root >= 0:
                t = (-b - np.sqrt(root)) / a
                if 0 <= t <= 1:
                    yield float(t), (apart + t * way) / RADIUS


class Wanderer:
    """TwoRoom: walks from one random place to the next, through the door, with much noise. For `dlp-dyn collect`."""

    NOISE = 0.7  # standard deviation of an action's components
    CLOSE = 10.0

    def __init__(self, env: gym.Env, rng: np.random.Generator) -> None:
        self.world: Any = env.unwrapped
        self.rng = rng
        self.target = self._draw()

    def __call__(self, observation: Any) -> Point:  # noqa: ARG002
        way = self._next() - self.world.position
        if np.linalg.norm(way) < self.CLOSE:
            self.target = self._draw()
        ahead = way / max(float(np.abs(way).max()), 1.0)
        return np.clip(ahead + self.rng.normal(0, self.NOISE, 2), -1, 1).astype(np.float32)

    def _next(self) -> Point:
        """The target, or what has to be passed on the way to it."""
        x = self.world.position[0]
        if (x < DOOR[0]) == (self.target[0] < DOOR[0]):
            return self.target
        before = DOOR + np.array([-22.0 if x < DOOR[0] else 22.0, 0.0])
        lined_up = abs(self.world.position[1] - DOOR[1]) < 5
        return 2 * DOOR - before if lined_up else before

    def _draw(self) -> Point:
        return anywhere(self.rng)


class Headlong(Wanderer):
    """TwoRoom: as the wanderer, but to half of the places straight ahead, walls or not, giving up after a while.

    Its data show what the wall does all along its length.
    """

    NOISE = 0.4
    PATIENCE = 30  # steps for a place

    def __call__(self, observation: Any) -> Point:
        self.left -= 1
        if self.left < 0:
            self.target = self._draw()
        return super().__call__(observation)

    def _next(self) -> Point:
        return self.target if self.straight else super()._next()

    def _draw(self) -> Point:
        self.straight, self.left = bool(self.rng.integers(2)), self.PATIENCE
        return super()._draw()


class Expert:
    """TwoRoom: the wheel's `ExpertPolicy` with its noise of 2; once it is there, it goes on to a new place.

    For `dlp-dyn collect`. Most pairs that it makes are near the door; it hardly meets the rest of the wall.
    """

    def __init__(self, env: gym.Env, rng: np.random.Generator) -> None:
        from stable_worldmodel.envs.two_room.expert_policy import (  # pyright: ignore[reportMissingImports]
            ExpertPolicy,
        )

        self.world: Any = env.unwrapped
        self.rng = rng
        self.target = anywhere(rng)
        self.policy: Any = ExpertPolicy(action_noise=2.0, seed=int(rng.integers(2**31)))
        one = SimpleNamespace(unwrapped=self.world.inner)
        self.policy.set_env(SimpleNamespace(envs=[one], action_space=np.zeros((1, 2))))

    def __call__(self, observation: Any) -> Point:  # noqa: ARG002
        if np.linalg.norm(self.target - self.world.position) < NEAR:
            self.target = anywhere(self.rng)
        known = {"state": self.world.position[None], "goal_state": self.target[None]}
        return self.policy.get_action(known)[0]


def anywhere(rng: np.random.Generator) -> Point:
    """A place of the dot, uniform in a room."""
    return np.array([rng.uniform(*ROOMS[rng.integers(2)]), rng.uniform(*REACH)])
