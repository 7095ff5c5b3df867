"""Physics of the pushing table: shapes, rim, corridor, and one disc that a velocity command moves.

Coordinates are those of the picture and of particles: (x, y) with -1 and 1 at the centres of its first and last
pixel, y downwards. Angles are in radians and turn from x to y.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pymunk
from jaxtyping import Bool, Float
from pymunk.constraints import PivotJoint

Shape = Literal["disc", "square", "tee"]

PUSHER_RADIUS = 0.08
PUSHER_REACH = 1 - PUSHER_RADIUS  # the farthest that its centre gets: always wholly in the picture
TABLE_HALF_WIDTH = 0.8  # the rim leaves the pusher room to come behind an object that touches it
SMALL_HALF_WIDTH = 0.6
STEP_LENGTH = 0.1  # of the pusher in one control step, each axis

CONTROL_PERIOD = 0.1  # seconds
SUBSTEPS = 5
# Velocities decay by this factor a second: what is no longer pushed stops within 0.04. So a picture, which shows
# no velocities, tells almost everything.
DAMPING = 1e-12
FRICTION = 0.4
DENSITY = 20.0  # a square weighs about 1, as the pusher does
SLOP = 0.001  # by which touching things may overlap
PUSHER_FORCE = 150.0  # enough for five objects at full speed; what is jammed stops it


@dataclass(frozen=True)
class Footprint:
    """Outline of an object around its centre of mass: convex polygons, or a disc where there are none."""

    radius: float  # of the disc, or of the circle around the origin that holds the polygons
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()

    @property
    def width(self) -> float:
        """The side of the upright square that holds it."""
        if not self.polygons:
            return 2 * self.radius
        points = np.concatenate(self.polygons)
        return float(np.ptp(points, axis=0).max())


def _box(left: float, top: float, right: float, bottom: float) -> tuple[tuple[float, float], ...]:
    return (left, top), (right, top), (right, bottom), (left, bottom)


# The stem reaches into the bar, so that no seam is drawn between them. The centre of mass of the T is the origin.
FOOTPRINTS: dict[Shape, Footprint] = {
    "disc": Footprint(0.12),
    "square": Footprint(0.11 * math.sqrt(2), (_box(-0.11, -0.11, 0.11, 0.11),)),
    "tee": Footprint(
        math.hypot(0.055, 0.231),
        (_box(-0.18, -0.129, 0.18, -0.019), _box(-0.055, -0.04, 0.055, 0.231)),
    ),
}

CORRIDOR_END = -0.05  # its x; it is open there, and closed by the rim at the other end
CORRIDOR_WALL = 0.02  # half of the thickness of a wall
CORRIDOR_WALLS = tuple(
    ((-TABLE_HALF_WIDTH, y), (CORRIDOR_END, y)) for y in (-0.17 - CORRIDOR_WALL, 0.17 + CORRIDOR_WALL)
)  # inside it is 0.34 wide: a square passes at any angle, two abreast never


@dataclass(frozen=True)
class Layout:
    """What stands on the table. Without a rim, objects fall when their centre leaves it."""

    half_width: float = TABLE_HALF_WIDTH
    rim: bool = True
    walls: tuple[tuple[tuple[float, float], tuple[float, float]], ...] = ()


# Collision categories.
_PUSHER, _OBJECT, _RIM, _WALL, _FENCE = (1 << i for i in range(5))


class Table:
    """The state of the physics; a new one for each episode, since contacts have a memory."""

    def __init__(
        self,
        layout: Layout,
        footprint: Footprint,
        poses: Float[np.ndarray, "N 3"],
        pusher: Float[np.ndarray, " 2"],
    ) -> None:
        """`poses` are (x, y, angle) of the objects, `pusher` is (x, y)."""
        self.layout, self.footprint = layout, footprint
        self.space = pymunk.Space()
        self.space.damping = DAMPING
        self.space.collision_slop = SLOP
        self._build_borders()
        self.bodies = [self._add_object(*pose) for pose in poses.tolist()]
        self.on_table: Bool[np.ndarray, " N"] = np.ones(len(poses), bool)
        self.pusher_body = self._add_pusher(*pusher.tolist())

    def __del__(self) -> None:
        """Breaks rings: bodies, shapes and joints of pymunk hold handles to themselves, for callbacks.

        They would stay until Python looks for rings among old objects, which in a large process is so seldom that its
        memory grows.
        """
        for body in (*self.bodies, self.pusher_body, self.hand, self.space.static_body):
            for joint in body.constraints:
                joint._data_handle = None
            for shape in body.shapes:
                shape._h = None
            body._data_handle = None

    def copy(self) -> "Table":
        """Another table on which everything lies and moves as it does here, without the memory of contacts."""
        other = Table(self.layout, self.footprint, self.poses, self.pusher)
        other.on_table = self.on_table.copy()
        for i, (body, own) in enumerate(zip(other.bodies, self.bodies, strict=True)):
            body.velocity, body.angular_velocity = own.velocity, own.angular_velocity
            if not self.on_table[i]:
                other.space.remove(body, *body.shapes)
        other.pusher_body.velocity = self.pusher_body.velocity
        return other

    @property
    def poses(self) -> Float[np.ndarray, "N 3"]:
        """(x, y, angle); of what has fallen, the last ones."""
        return np.array([(*body.position, body.angle) for body in self.bodies])

    @property
    def pusher(self) -> Float[np.ndarray, " 2"]:
        return np.array(self.pusher_body.position)

    def step(self, action: Float[np.ndarray, " 2"]) -> None:
        """Moves the pusher by up to `action` (in [-1, 1]) times STEP_LENGTH, and all that is in its way."""
        here = self.pusher
        there = np.clip(here + STEP_LENGTH * action, -PUSHER_REACH, PUSHER_REACH)
        self.hand.velocity = tuple(((there - here) / CONTROL_PERIOD).tolist())
        for _ in range(SUBSTEPS):
            self.space.step(CONTROL_PERIOD / SUBSTEPS)
        if not self.layout.rim:
            self._let_fall()

    def _let_fall(self) -> None:
        for i, body in enumerate(self.bodies):
            if self.on_table[i] and max(map(abs, body.position)) > self.layout.half_width:
                self.on_table[i] = False
                self.space.remove(body, *body.shapes)

    def _add_object(self, x: float, y: float, angle: float) -> pymunk.Body:
        body = pymunk.Body()
        body.position, body.angle = (x, y), angle
        polygons = [pymunk.Poly(body, polygon) for polygon in self.footprint.polygons]
        shapes = polygons or [pymunk.Circle(body, self.footprint.radius)]
        for shape in shapes:
            shape.density = DENSITY
        self._add(body, shapes, _OBJECT, _PUSHER | _OBJECT | _RIM | _WALL)
        return body

    def _add_pusher(self, x: float, y: float) -> pymunk.Body:
        body = pymunk.Body(1, math.inf)
        body.position = x, y
        self._add(body, [pymunk.Circle(body, PUSHER_RADIUS)], _PUSHER, _OBJECT | _WALL | _FENCE)
        # The hand leads the pusher by velocity alone and with a bounded force, so that it never presses one
        # thing into another, as an unstoppable body would.
        self.hand = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        lead = PivotJoint(self.hand, body, (0, 0), (0, 0))
        lead.max_bias, lead.max_force = 0, PUSHER_FORCE
        self.space.add(self.hand, lead)
        return body

    def _build_borders(self) -> None:
        thick = 0.2  # of what is not drawn: nothing gets through
        if self.layout.rim:
            self._add_square(self.layout.half_width + thick, thick, _RIM, _OBJECT)
        self._add_square(1 + thick, thick, _FENCE, _PUSHER)
        ground = self.space.static_body
        walls = [pymunk.Segment(ground, *wall, CORRIDOR_WALL) for wall in self.layout.walls]
        self._add(None, walls, _WALL, _PUSHER | _OBJECT)

    def _add_square(self, half_width: float, radius: float, category: int, mask: int) -> None:
        corners = _box(-half_width, -half_width, half_width, half_width)
        sides = [pymunk.Segment(self.space.static_body, corners[i - 1], corners[i], radius) for i in range(4)]
        self._add(None, sides, category, mask)

    def _add(self, body: pymunk.Body | None, shapes: list, category: int, mask: int) -> None:
        for shape in shapes:
            shape.friction = FRICTION
            shape.filter = pymunk.ShapeFilter(categories=category, mask=mask)
        self.space.add(*([body] if body else []), *shapes)
