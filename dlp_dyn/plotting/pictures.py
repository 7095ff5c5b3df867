"""Pictures of particles: sample grids, overlays, and files to look at (PNG, GIF, MP4)."""

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from dlp_dyn import folders, geometry
from dlp_dyn.clip import to_images
from dlp_dyn.data.inspection import Inspection
from dlp_dyn.errors import InputError
from dlp_dyn.image.model import DLP

TILE = 192  # least side of a picture in a grid, in pixels
GAP, HEADER = 6, 30
GOLDEN_RATIO = 0.618034
MISSED_PX = 4.0  # from a particle
SUBPIXEL_BITS = 4  # OpenCV draws at fractions of 1/16 pixel

Picture = UInt8[np.ndarray, "_ _ 3"]


def colours(n: int) -> UInt8[np.ndarray, "n 3"]:
    """A colour for each slot, neighbours far apart; the first ones do not depend on n."""
    hues = [(0.02 + i * GOLDEN_RATIO) % 1 for i in range(n)]
    rgb = [colorsys.hsv_to_rgb(h, 0.65 if i % 2 else 0.9, 1.0) for i, h in enumerate(hues)]
    return (np.array(rgb).reshape(n, 3) * 255).round().astype(np.uint8)


def sample_grid(model: DLP, frames: UInt8[np.ndarray, "B H W 3"], found: Inspection | None = None) -> Picture:
    """One row a frame: input, particles, reconstruction, proposals, boxes, masks, foreground, background.

    found: in the data; what moves and has no particle gets a red ring.
    """
    was_training = model.training
    model.eval()
    with torch.no_grad():
        images = to_images(frames, next(model.parameters()).device)
        scene = model.drawn(model.encode(images).mean)
        decoded = model.decode(scene)
        masks, proposals = _array(model.masks(scene, decoded)), _array(model.proposals(images))
    model.train(was_training)
    p = scene.particles
    position, size, on = _array(p.position), _array(p.size), p.visible.cpu().numpy()
    grey = 0.25 * decoded.background_weight  # dark objects would vanish on black
    rows = [
        {
            "input": enlarge(frame),
            "particles": draw_missed(
                draw_particles(frame, position[i], on[i]), frame, position[i], on[i], found
            ),
            "reconstruction": enlarge(to_uint8(decoded.image[i])),
            "proposals": draw_points(frame, proposals[i]),
            "boxes": draw_boxes(frame, position[i], size[i], on[i]),
            "masks": draw_masks(frame, masks[i]),
            "foreground": enlarge(to_uint8(decoded.foreground[i] + grey[i])),
            "background": enlarge(to_uint8(decoded.background[i])),
        }
        for i, frame in enumerate(frames)
    ]
    return label_grid(rows)


def draw_missed(
    picture: Picture,
    frame: Picture,
    position: Float[np.ndarray, "N 2"],
    on: Bool[np.ndarray, " N"],
    found: Inspection | None,
) -> Picture:
    """A red ring around every moving thing of the frame without a particle near it, on its enlarged picture."""
    if found is None or not found.fixed_camera:
        return picture
    factor = picture.shape[0] / frame.shape[0]
    near = geometry.to_pixel(torch.from_numpy(position[on]), frame.shape[0]).numpy()
    blobs = found.blobs(frame[None])[0]
    for centre, side in zip(blobs.centre, blobs.side, strict=True):
        if (np.linalg.norm(near - centre, axis=1) > MISSED_PX).all():
            at = (centre + 0.5) * factor
            cv2.circle(
                picture, tuple(at.astype(int)), int((side / 2 + 2) * factor), (230, 30, 30), 2, cv2.LINE_AA
            )
    return picture


def label_grid(rows: Sequence[dict[str, Picture]]) -> Picture:
    """Rows of equally sized pictures with the same keys, under a header with those keys."""
    side_y, side_x = next(iter(rows[0].values())).shape[:2]
    height = HEADER + len(rows) * (side_y + GAP)
    grid = np.full((height, GAP + len(rows[0]) * (side_x + GAP), 3), 255, np.uint8)
    for column, name in enumerate(rows[0]):
        x = GAP + column * (side_x + GAP)
        (width, _), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        at = (x + (side_x - width) // 2, HEADER - 10)
        cv2.putText(grid, name, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
        for i, row in enumerate(rows):
            y = HEADER + i * (side_y + GAP)
            grid[y : y + side_y, x : x + side_x] = row[name]
    return grid


def enlarge(frame: Picture) -> Picture:
    """A whole number of times as large, `TILE` pixels at least."""
    times = _times(frame)
    size = (frame.shape[1] * times, frame.shape[0] * times)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def draw_particles(frame: Picture, position: Float[np.ndarray, "N 2"], on: Bool[np.ndarray, " N"]) -> Picture:
    """The frame enlarged, with numbered dots in the colours of the slots; particles that are off are small rings."""
    picture, palette = enlarge(frame), colours(len(position)).tolist()
    at = on_picture(position, frame)
    radius = picture.shape[1] / 45
    for slot in np.flatnonzero(~on):
        _circle(picture, at[slot], 0.6 * radius, (190, 190, 190), thickness=1)
    for slot in np.flatnonzero(on):
        _circle(picture, at[slot], radius + 1.5, (0, 0, 0))
        _circle(picture, at[slot], radius, palette[slot])
        corner = (round(at[slot][0] + radius + 2), round(at[slot][1] - radius))
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                picture, str(slot), corner, cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, thickness, cv2.LINE_AA
            )
    return picture


def draw_points(frame: Picture, position: Float[np.ndarray, "M 2"]) -> Picture:
    """The frame enlarged, with dots of one colour."""
    picture = enlarge(frame)
    radius = picture.shape[1] / 90
    for at in on_picture(position, frame):
        _circle(picture, at, radius + 1, (0, 0, 0))
        _circle(picture, at, radius, (255, 220, 60))
    return picture


def draw_boxes(
    frame: Picture,
    position: Float[np.ndarray, "N 2"],
    size: Float[np.ndarray, "N 2"],
    on: Bool[np.ndarray, " N"],
) -> Picture:
    """The frame enlarged, with what the glimpses of particles that are on cover. size: fraction of the image side."""
    picture = enlarge(frame)
    draw_boxes_on(picture, frame, position, size, on)
    return picture


def draw_boxes_on(
    picture: Picture,
    frame: Picture,
    position: Float[np.ndarray, "N 2"],
    size: Float[np.ndarray, "N 2"],
    on: Bool[np.ndarray, " N"],
) -> None:
    """As `draw_boxes`, into the enlarged picture of a frame."""
    palette = colours(len(position)).tolist()
    low, high = on_picture(position - size, frame), on_picture(position + size, frame)
    for colour_of, thickness in ((lambda _: (0, 0, 0), 3), (palette.__getitem__, 1)):
        for slot in np.flatnonzero(on):
            corners = _fixed_point(low[slot]), _fixed_point(high[slot])
            cv2.rectangle(picture, *corners, colour_of(slot), thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def draw_masks(frame: Picture, masks: Float[np.ndarray, "N H W"]) -> Picture:
    """The frame enlarged, grey and darkened; each particle's share of a pixel in the colour of its slot."""
    picture = enlarge(frame)
    size = (picture.shape[1], picture.shape[0])
    shares = np.stack([cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) for mask in masks]).clip(0, 1)
    mixed = np.einsum("nhw,nc->hwc", shares, colours(len(masks)).astype(np.float32))
    rest = (1 - shares.sum(0).clip(0, 1))[..., None] * 0.35 * picture.mean(-1, keepdims=True)
    return (mixed + rest).clip(0, 255).round().astype(np.uint8)


def write_image(path: str | Path, image: Picture) -> None:
    """A PNG (or what the suffix says). Raises InputError when it cannot be written."""
    path = Path(path)
    folders.write_file(path, iio.imwrite("<bytes>", image, extension=path.suffix))


def write_video(path: str | Path, frames: UInt8[np.ndarray, "T H W 3"], fps: float = 20.0) -> None:
    """A GIF, WebP or MP4 by suffix. MP4 wants even sides: an odd one is repeated by a pixel.

    Raises InputError for other suffixes, and when the file cannot be written.
    """
    path = Path(path)
    buffer = io.BytesIO()
    if path.suffix == ".gif":
        first, *others = _with_palette(frames)
        first.save(buffer, "GIF", save_all=True, append_images=others, duration=1000 / fps, loop=0)
    elif path.suffix == ".webp":
        iio.imwrite(buffer, frames, extension=path.suffix, duration=1000 / fps, loop=0)
    elif path.suffix == ".mp4":
        even = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), "edge")
        # The writer would otherwise resize to multiples of 16.
        data = iio.imwrite("<bytes>", even, extension=".mp4", fps=fps, macro_block_size=1, plugin="FFMPEG")
        buffer.write(data)
    else:
        raise InputError(f"{path}: cannot write '{path.suffix}'; use .gif, .webp or .mp4")
    folders.write_file(path, buffer.getvalue())


def _with_palette(frames: UInt8[np.ndarray, "T H W 3"]) -> list[Image.Image]:
    """Frames in 256 colours, the same for all: finding them for each frame takes seven times as long, and flickers."""
    some = np.unique(np.linspace(0, len(frames) - 1, 8).astype(int))
    palette = Image.fromarray(np.concatenate(frames[some, ::2, ::2])).quantize(256)
    return [Image.fromarray(x).quantize(palette=palette, dither=Image.Dither.NONE) for x in frames]


def _array(x: Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()


def to_uint8(image: Float[Tensor, "3 H W"]) -> Picture:
    return _array((image.clamp(0, 1) * 255).round().movedim(0, -1)).astype(np.uint8)


def _times(frame: Picture) -> int:
    return max(-(-TILE // max(frame.shape[:2])), 1)


def on_picture(position: Float[np.ndarray, "N 2"], frame: Picture) -> Float[np.ndarray, "N 2"]:
    """Positions as pixel indices of the enlarged frame, where each pixel has become a block."""
    height, width = frame.shape[:2]
    x, y = torch.from_numpy(position).unbind(-1)
    pixel = torch.stack([geometry.to_pixel(x, width), geometry.to_pixel(y, height)], -1).numpy()
    return (pixel + 0.5) * _times(frame) - 0.5


def _fixed_point(at: Float[np.ndarray, "2"]) -> tuple[int, int]:
    # Particles may be far outside the image; OpenCV's integers are not endless.
    x, y = (at * 2**SUBPIXEL_BITS).round().clip(-(2**20), 2**20).tolist()
    return int(x), int(y)


def _circle(
    picture: Picture,
    at: Float[np.ndarray, "2"],
    radius: float,
    colour: Sequence[int],
    thickness: int = cv2.FILLED,
) -> None:
    scaled = round(radius * 2**SUBPIXEL_BITS)
    cv2.circle(picture, _fixed_point(at), scaled, tuple(colour), thickness, cv2.LINE_AA, SUBPIXEL_BITS)
