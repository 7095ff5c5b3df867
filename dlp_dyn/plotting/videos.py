"""Pictures of predictions: truth, prediction, particles with their trails and masks, above a time line."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from dlp_dyn.particles import Scene
from dlp_dyn.plotting.pictures import (
    GAP,
    Picture,
    colours,
    draw_boxes_on,
    draw_masks,
    draw_particles,
    enlarge,
    label_grid,
    on_picture,
    to_uint8,
)
from dlp_dyn.video import VideoModel

TRAIL = 12  # frames that a trail goes back
TIME_LINE = 30  # height in pixels
_WORDS = 170  # width of what is written beside the time line
_CONTEXT, _PREDICTED = (80, 200, 120), (235, 90, 70)


@torch.no_grad()
def prediction_video(
    model: VideoModel,
    scene: Scene,
    truth: UInt8[np.ndarray, "B T H W 3"] | None,
    n_context: int,
    n_predicted: int | None = None,
) -> UInt8[np.ndarray, "F h w 3"]:
    """One row a clip. Rim and time line are green while frames are seen, red in the prediction.

    scene: over (B, T'), what `VideoModel.predict` gave. truth: where known; past its end it stands still and grey.
    n_predicted: frames after the context, after which they are seen again; without it, all to the end.
    """
    n_clips, n_frames = scene.background.shape[:2]
    predicted = range(n_context, n_frames if n_predicted is None else n_context + n_predicted)
    position = scene.particles.position.float().cpu().numpy()
    size = scene.particles.size.float().cpu().numpy()
    on = scene.particles.visible.cpu().numpy()
    pictures: list[list[dict[str, Picture]]] = [[] for _ in range(n_clips)]
    flat = 0
    for piece, decoded in model.draw(scene):
        masks = model.image.masks(piece, decoded).float().cpu().numpy()
        for image, mask in zip(decoded.image, masks, strict=True):
            clip, t = divmod(flat, n_frames)
            flat += 1
            drawn = to_uint8(image)
            row = {"truth": _truth(truth[clip], t)} if truth is not None else {}
            row |= {
                "prediction": _rim(enlarge(drawn), t in predicted),
                "particles": draw_trails(drawn, position[clip, : t + 1], on[clip, : t + 1], size[clip, t]),
                "masks": draw_masks(drawn, mask),
            }
            pictures[clip].append(row)
    grids = [label_grid([clip[t] for clip in pictures]) for t in range(n_frames)]
    return np.stack(
        [np.concatenate([g, _time_line(g.shape[1], t, predicted, n_frames)]) for t, g in enumerate(grids)]
    )


def draw_trails(
    frame: Picture,
    position: Float[np.ndarray, "T N 2"],
    on: Bool[np.ndarray, "T N"],
    size: Float[np.ndarray, "N 2"],
) -> Picture:
    """The last frame enlarged and darkened, with where its particles are, what they cover and where they came from."""
    picture = draw_particles((0.5 * frame).astype(np.uint8), position[-1], on[-1])
    draw_boxes_on(picture, frame, position[-1], size, on[-1])
    palette = colours(position.shape[1]).tolist()
    recent, seen = position[-TRAIL - 1 :], on[-TRAIL - 1 :]
    at = np.stack([on_picture(p, frame) for p in recent]).round().clip(-(2**15), 2**15).astype(int)
    for slot in np.flatnonzero(on[-1]):
        for t in range(1, len(at)):
            if seen[t - 1, slot] and seen[t, slot]:
                thickness = 1 + 2 * t // len(at)
                cv2.line(
                    picture,
                    at[t - 1, slot].tolist(),
                    at[t, slot].tolist(),
                    palette[slot],
                    thickness,
                    cv2.LINE_AA,
                )
    return picture


def _truth(frames: UInt8[np.ndarray, "T H W 3"], t: int) -> Picture:
    if t < len(frames):
        return enlarge(frames[t])
    grey = np.repeat(frames[-1].mean(-1, keepdims=True), 3, -1)
    return enlarge((0.5 * grey).astype(np.uint8))


def _rim(picture: Picture, predicted: bool) -> Picture:
    colour = _PREDICTED if predicted else _CONTEXT
    high, wide = picture.shape[:2]
    return np.asarray(cv2.rectangle(picture.copy(), (0, 0), (wide - 1, high - 1), colour, 3), np.uint8)


def _time_line(width: int, t: int, predicted: range, n_frames: int) -> Picture:
    """How far frame t is: a bar that is green where frames are seen and red where not, and the same in words."""
    strip = np.full((TIME_LINE, width, 3), 255, np.uint8)
    left, right, top, bottom = GAP, width - GAP - _WORDS, TIME_LINE // 2 - 5, TIME_LINE // 2 + 3

    def x(frame: float) -> int:
        return round(left + (right - left) * frame / n_frames)

    pale = [tuple((255 + c) // 2 for c in colour) for colour in (_CONTEXT, _PREDICTED)]
    for begin, end, faint, full in (
        (0, predicted.start, pale[0], _CONTEXT),
        (predicted.start, predicted.stop, pale[1], _PREDICTED),
        (predicted.stop, n_frames, pale[0], _CONTEXT),
    ):
        if begin >= end:
            continue
        cv2.rectangle(strip, (x(begin), top), (x(end) - 2, bottom), faint, cv2.FILLED)
        if t + 1 > begin:
            cv2.rectangle(strip, (x(begin), top), (x(min(t + 1, end)) - 2, bottom), full, cv2.FILLED)
    seen = t not in predicted
    words = f"frame {t + 1}: seen" if seen else f"predicted, {t + 1 - predicted.start} ahead"
    colour = tuple(int(0.75 * c) for c in (_CONTEXT if seen else _PREDICTED))
    cv2.putText(
        strip, words, (right + GAP, bottom + 2), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA
    )
    return strip
