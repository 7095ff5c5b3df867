"""Scripted policies for `dlp-dyn collect --policy envs.policies:NAME`: they touch what chance misses."""

from typing import Any

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float

from envs.table import CORRIDOR_END, PUSHER_RADIUS, PUSHER_REACH, STEP_LENGTH


class TowardBlock:
    """PushT (`gym_pusht/PushT-v0`): the agent glides between way-points, most of which lie behind the block.

    The action is a target position in pixels, which the environment's controller follows. A way-point is
    drawn on the far side of the block, off its centre by a random amount, so that reaching it pushes and
    turns the block; the others are drawn from everywhere.
    """

    SIDE = 512.0
    MARGIN = 90.0  # nearer to the wall it would push the block out of the picture
    BEHIND = 110.0
    OFF_CENTRE = 45.0
    STRIDE = 22.0
    BLOCK_SHARE = 0.8

    def __init__(self, env: gym.Env, rng: np.random.Generator) -> None:
        self.world: Any = env.unwrapped
        self.rng = rng
        self.target = np.array(self.world.agent.position, np.float64)
        self.way_point = self._draw()

    def __call__(self, observation: Any) -> Float[np.ndarray, " 2"]:  # noqa: ARG002
        way = self.way_point - self.target
        distance = np.linalg.norm(way)
        if distance < self.STRIDE:
            self.way_point = self._draw()
        else:
            self.target = self.target + way * (self.STRIDE / distance)
        return self.target.astype(np.float32)

    def _draw(self) -> Float[np.ndarray, " 2"]:
        low, high = self.MARGIN, self.SIDE - self.MARGIN
        if self.rng.uniform() > self.BLOCK_SHARE:
            return self.rng.uniform(low, high, 2)
        block = np.array(self.world.block.position, np.float64)
        through = block + self.rng.normal(0, self.OFF_CENTRE, 2)
        way = through - self.target
        behind = through + way / max(float(np.linalg.norm(way)), 1.0) * self.BEHIND
        return np.clip(behind, low, high)


class ScriptedPusher:
    """Push: comes behind an object and pushes it straight to its goal, one object after another.

    It reads the ground truth of the observation, and rests when all is done. With one object it nearly always
    succeeds; several get in each other's way. It does not know how to turn a T. To collect rollouts, see
    RestlessPusher.
    """

    ROOM = 0.03  # between the pusher and what it walks around
    IN_LINE = 0.04  # how far off the line from the object to its goal the pusher may be to push
    MOUTH = CORRIDOR_END + 0.2  # x of the place before the corridor where objects are lined up
    DONE = 0.6  # of the distance that counts as success

    def __init__(self, env: gym.Env, rng: np.random.Generator) -> None:
        self.world: Any = env.unwrapped
        self.rng = rng
        self.radius: float = self.world.footprint.radius
        self.contact = PUSHER_RADIUS + self.world.footprint.width / 2
        self.current = -1
        self.off_centre = 0.0  # where it pushes, across

    def __call__(self, observation: Any) -> Float[np.ndarray, " 2"]:
        pusher = observation["observation"][0, :2].astype(np.float64)
        objects = observation["achieved_goal"][:, :2].astype(np.float64)
        goals = observation["desired_goal"][:, :2].astype(np.float64)
        on_table = observation["achieved_goal"][:, 4] > 0.5
        return np.clip(self._step(pusher, objects, goals, on_table) / STEP_LENGTH, -1, 1).astype(np.float32)

    def _step(
        self,
        pusher: Float[np.ndarray, " 2"],
        objects: Float[np.ndarray, "N 2"],
        goals: Float[np.ndarray, "N 2"],
        on_table: Bool[np.ndarray, " N"],
    ) -> Float[np.ndarray, " 2"]:
        """Where the pusher should move next, as a step of any length."""
        i = self._choose(pusher, objects, goals, on_table)
        if i is None:
            return np.zeros(2)
        target, goal = objects[i], goals[i]
        others = np.delete(objects, i, axis=0)[np.delete(on_table, i)]
        if self.world.layout.walls:
            if pusher[0] < self.MOUTH and target[0] > CORRIDOR_END:
                return np.array([self.MOUTH + STEP_LENGTH, 0.0]) - pusher  # out, before anything else
            if target[0] > CORRIDOR_END and abs(target[1]) > self.IN_LINE:
                goal = np.array([self.MOUTH, 0.0])
        return self._push(pusher, target, goal, others)

    def _choose(
        self,
        pusher: Float[np.ndarray, " 2"],
        objects: Float[np.ndarray, "N 2"],
        goals: Float[np.ndarray, "N 2"],
        on_table: Bool[np.ndarray, " N"],
    ) -> int | None:
        """The object to push: the one at hand until it is done, then the nearest; a corridor's deepest first."""
        gaps = np.linalg.norm(objects - goals, axis=1)
        todo = np.flatnonzero(on_table & (gaps > self.DONE * self.world.success_distance))
        if not todo.size:
            return None
        if self.world.layout.walls:
            self.current = int(todo[goals[todo, 0].argmin()])
        elif self.current not in todo:
            self.current = int(todo[np.linalg.norm(objects[todo] - pusher, axis=1).argmin()])
        return self.current

    def _push(
        self,
        pusher: Float[np.ndarray, " 2"],
        target: Float[np.ndarray, " 2"],
        goal: Float[np.ndarray, " 2"],
        others: Float[np.ndarray, "M 2"],
    ) -> Float[np.ndarray, " 2"]:
        """A step to the place behind the object, or onwards with the object before it."""
        gap = float(np.linalg.norm(goal - target))
        along = (goal - target) / max(gap, 1e-9)
        across = np.array([-along[1], along[0]])
        behind = float((target - pusher) @ along)
        off_line = float((pusher - target) @ across) - self.off_centre
        if behind > 0 and abs(off_line) < self.IN_LINE and behind < self.contact + 0.15:
            # Twice the error across: the line is met again before the object has turned away.
            forward = min(gap + behind - self.contact, STEP_LENGTH)
            return forward * along - 2 * off_line * across
        start = target - (self.contact + self.ROOM) * along + self.off_centre * across
        start = np.clip(start, -PUSHER_REACH, PUSHER_REACH)
        return self._walk(pusher, start, np.vstack([target, others]))

    def _walk(
        self,
        pusher: Float[np.ndarray, " 2"],
        to: Float[np.ndarray, " 2"],
        obstacles: Float[np.ndarray, "M 2"],
    ) -> Float[np.ndarray, " 2"]:
        """A step to a point, around the first obstacle on the way."""
        way = to - pusher
        distance = float(np.linalg.norm(way))
        ahead = way / max(distance, 1e-9)
        side = np.array([-ahead[1], ahead[0]])
        clear = self.radius + PUSHER_RADIUS + self.ROOM
        offsets = obstacles - pusher
        forward, across = offsets @ ahead, offsets @ side
        blocked = (forward > 0) & (forward < distance) & (np.abs(across) < clear)
        if not blocked.any():
            return way
        first = int(np.where(blocked, forward, np.inf).argmin())
        apart = offsets[first]
        reach = float(np.linalg.norm(apart))
        radial = apart / max(reach, 1e-9)
        around = np.array([-radial[1], radial[0]])
        around *= 1.0 if around @ ahead >= 0 else -1.0
        # Along the circle around the obstacle, and back to the circle where it is left.
        return STEP_LENGTH * around + (reach - clear) * radial


class RestlessPusher(ScriptedPusher):
    """Push: a ScriptedPusher for collecting rollouts: off the centre at times, and never at rest.

    When all is done, or one object has taken too long, a random object gets another place to go to.
    """

    PATIENCE = 40  # steps with one object
    OFF_CENTRE = 0.04  # standard deviation; it turns what is pushed

    def __init__(self, env: gym.Env, rng: np.random.Generator) -> None:
        super().__init__(env, rng)
        self.extra_goals: dict[int, Float[np.ndarray, " 2"]] = {}
        self.spent = 0  # steps with the object at hand

    def _choose(
        self,
        pusher: Float[np.ndarray, " 2"],
        objects: Float[np.ndarray, "N 2"],
        goals: Float[np.ndarray, "N 2"],
        on_table: Bool[np.ndarray, " N"],
    ) -> int | None:
        for i, goal in self.extra_goals.items():
            goals[i] = goal
        before = self.current
        i = super()._choose(pusher, objects, goals, on_table)
        self.spent = self.spent + 1 if i == before else 0
        if on_table.any() and (i is None or self.spent > self.PATIENCE):
            i = self.current = int(self.rng.choice(np.flatnonzero(on_table)))
            inside = self.world.layout.half_width - self.world.footprint.radius
            goals[i] = self.extra_goals[i] = self.rng.uniform(-inside, inside, 2)
            self.off_centre = self.rng.normal(0, self.OFF_CENTRE)
            self.spent = 0
        return i


class PlayfulPusher(RestlessPusher):
    """Push: stretches of a RestlessPusher and of smooth noise in turn.

    For models to plan with: a search tries what no policy that knows its way ever does, such as grazing an object.
    """

    STRETCH = 12  # steps on average
    SMOOTH = 0.7  # correlation of the noise from step to step
    SPREAD = 0.6  # standard deviation of what is new in it

    def __init__(self, env: gym.Env, rng: np.random.Generator) -> None:
        super().__init__(env, rng)
        self.noise = np.zeros(2)
        self.playing = False

    def __call__(self, observation: Any) -> Float[np.ndarray, " 2"]:
        if self.rng.uniform() < 1 / self.STRETCH:
            self.playing = not self.playing
        self.noise = self.SMOOTH * self.noise + self.rng.normal(0, self.SPREAD, 2)
        pushed = super().__call__(observation)
        return np.clip(self.noise, -1, 1).astype(np.float32) if self.playing else pushed
