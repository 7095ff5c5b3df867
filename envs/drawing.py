"""Pictures of the pushing table by OpenCV: no screen, no graphics context."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from envs.table import CORRIDOR_WALL, PUSHER_RADIUS, Footprint, Layout

RIM, TABLE, WALL = (26, 26, 30), (66, 68, 76), (150, 140, 125)
PUSHER = (255, 255, 255)
PALETTE = np.array(
    [(230, 50, 50), (60, 200, 70), (70, 110, 255), (250, 210, 40), (220, 80, 230), (50, 215, 220)], np.uint8
)  # red, green, blue, yellow, magenta, cyan

ZOOM = 2
SHIFT = 6  # OpenCV takes coordinates in 1/64 of a pixel


class Painter:
    """Draws with smooth edges at twice the size, and averages."""

    def __init__(self, image_size: int, layout: Layout, footprint: Footprint) -> None:
        self.image_size, self.layout, self.footprint = image_size, layout, footprint
        self.polygons = [np.array(polygon) for polygon in footprint.polygons]
        self.background = self._empty_table()
        self.canvas = self.background.copy()

    def draw(
        self,
        poses: Float[np.ndarray, "N 3"],
        colours: UInt8[np.ndarray, "N 3"],
        visible: Bool[np.ndarray, " N"],
        pusher: Float[np.ndarray, " 2"] | None,
    ) -> UInt8[np.ndarray, "H W 3"]:
        """The picture of objects at (x, y, angle); `pusher=None` leaves it out."""
        np.copyto(self.canvas, self.background)
        return self._painted(poses, colours, visible, pusher, PUSHER)

    def masks(
        self,
        poses: Float[np.ndarray, "N 3"],
        visible: Bool[np.ndarray, " N"],
        pusher: Float[np.ndarray, " 2"],
    ) -> UInt8[np.ndarray, "H W"]:
        """The object that covers half of a pixel or more, as its number + 1, the pusher's last; 0 where none does."""
        labels = np.zeros((self.image_size, self.image_size), np.uint8)
        for i in range(len(poses) + 1):
            white = np.zeros((len(poses) + 1, 3), np.uint8)
            white[i] = 255
            self.canvas[:] = 0
            cover = self._painted(poses, white[:-1], visible, pusher, white[-1].tolist())[..., 0]
            labels[cover > 127] = i + 1
        return labels

    def _painted(
        self,
        poses: Float[np.ndarray, "N 3"],
        colours: UInt8[np.ndarray, "N 3"],
        visible: Bool[np.ndarray, " N"],
        pusher: Float[np.ndarray, " 2"] | None,
        pusher_colour: Sequence[int],
    ) -> UInt8[np.ndarray, "H W 3"]:
        """The canvas with the objects drawn on it, at the size of the picture."""
        for pose, colour, is_visible in zip(poses, colours.tolist(), visible, strict=True):
            if is_visible:
                self._draw_object(pose, colour)
        if pusher is not None:
            self._draw_disc(pusher, PUSHER_RADIUS, pusher_colour)
        size = (self.image_size, self.image_size)
        return np.asarray(cv2.resize(self.canvas, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _draw_object(self, pose: Float[np.ndarray, " 3"], colour: Sequence[int]) -> None:
        if not self.polygons:
            self._draw_disc(pose[:2], self.footprint.radius, colour)
            return
        cos, sin = np.cos(pose[2]), np.sin(pose[2])
        turn = np.array([[cos, sin], [-sin, cos]])
        for polygon in self.polygons:
            points = self._fixed_point(polygon @ turn + pose[:2])
            cv2.fillConvexPoly(self.canvas, points, colour, cv2.LINE_AA, SHIFT)

    def _draw_disc(self, centre: Float[np.ndarray, " 2"], radius: float, colour: Sequence[int]) -> None:
        x, y = self._fixed_point(centre).tolist()
        fixed_radius = round(radius * self._unit * 2**SHIFT)
        cv2.circle(self.canvas, (x, y), fixed_radius, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)

    @property
    def _unit(self) -> float:
        """Canvas pixels in a unit of length."""
        return (self.image_size - 1) / 2 * ZOOM

    def _fixed_point(self, points: Float[np.ndarray, "*n 2"]) -> np.ndarray:
        middle = (self.image_size * ZOOM - 1) / 2
        return np.rint((points * self._unit + middle) * 2**SHIFT).astype(np.int32)

    def _empty_table(self) -> UInt8[np.ndarray, "H W 3"]:
        side = self.image_size * ZOOM
        self.canvas = np.full((side, side, 3), RIM, np.uint8)
        edge = self.layout.half_width
        self._draw_box((-edge, -edge), (edge, edge), TABLE)
        for (left, y), (right, _) in self.layout.walls:
            self._draw_box((left, y - CORRIDOR_WALL), (right, y + CORRIDOR_WALL), WALL)
        return self.canvas

    def _draw_box(self, low: tuple[float, float], high: tuple[float, float], colour: Sequence[int]) -> None:
        corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
        cv2.fillConvexPoly(self.canvas, self._fixed_point(corners), colour, cv2.LINE_AA, SHIFT)
