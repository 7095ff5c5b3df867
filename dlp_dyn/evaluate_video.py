"""Judging predictions on rollouts: pictures, and positions where the truth is known, beside simple baselines."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from dlp_dyn import losses, metrics
from dlp_dyn.checkpoint import load_video_model
from dlp_dyn.data.rollouts import Part, Rollouts
from dlp_dyn.data.writer import Episode
from dlp_dyn.errors import InputError
from dlp_dyn.evaluate import Score, check_size
from dlp_dyn.particles import Scene
from dlp_dyn.video import VideoModel

_AT_ONCE = 16  # episodes
_FIRST_STEPS = 10  # that MED-10 sums over
_LOST = 0.25  # of the image side: a particle farther from its object than this has lost it

Curve = Float[np.ndarray, " H"]


@dataclass(frozen=True)
class VideoReport:
    """Figures over the horizon, and per predicted step, by method: `model` and the baselines.

    psnr, ssim, lpips: of pictures. error: mean Euclidean distance in image sides (G-SWM), of objects that a particle
    was matched to in the first predicted frame and follows from there. lost: share of the objects without a visible
    particle within a quarter of the image side, all steps together.
    """

    overall: dict[str, dict[str, float]]
    per_step: dict[str, dict[str, list[float]]]
    context: int
    episodes: int


def evaluate_video(
    run: str | Path,
    data: str | Path,
    part: Part = "test",
    context: int = 10,
    horizon: int | None = None,
    lpips: bool = False,
    device: str = "cpu",
    max_episodes: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> VideoReport:
    """Predict every episode of a part from its first `context` frames, for `horizon` steps or to its end.

    Raises InputError for a run without dynamics, and for data that is too short or does not fit the model.
    """
    model, rollouts = load_video_model(run, device), Rollouts(data)
    check_size(model.image, rollouts)
    episodes = rollouts.part(part)[:max_episodes]
    if not len(episodes):
        raise InputError(f"{data}: no episode in the {part} part; choose another with --part")
    shortest = int(rollouts.episode_lengths[episodes].min())
    steps = shortest - context if horizon is None else horizon
    if context < 1 or steps < 1 or context + steps > shortest:
        raise InputError(
            f"{data}: {context} context frames and {max(steps, 1)} predicted ones, the shortest episode of the {part} "
            f"part has {shortest} frames: lower --context or --horizon"
        )
    scores: dict[str, Score] = {"psnr": losses.psnr, "ssim": metrics.ssim}
    if lpips:
        scores["lpips"] = metrics.Lpips().to(device)
    judged: list[dict[str, dict[str, np.ndarray]]] = []
    for begin in range(0, len(episodes), _AT_ONCE):
        numbers = episodes[begin : begin + _AT_ONCE]
        read = [rollouts.read(int(rollouts.episode_starts[i]), context + steps) for i in numbers]
        judged.append(judge(model, read, context, scores))
        if progress:
            progress(begin + len(numbers))
    return _report(judged, context, len(episodes))


@torch.no_grad()
def judge(
    model: VideoModel, episodes: list[Episode], context: int, scores: dict[str, Score]
) -> dict[str, dict[str, Float[np.ndarray, "B H"]]]:
    """Figures of equally long episodes, by method and name."""
    device = next(model.parameters()).device
    video = torch.from_numpy(np.stack([e.frames for e in episodes])).to(device).movedim(-1, -3).float() / 255
    horizon, side = video.shape[1] - context, video.shape[-1]
    actions = None
    if model.cfg.dynamics.action_dim:
        known = [e.actions for e in episodes if e.actions is not None]
        actions = torch.from_numpy(np.stack(known)).float().to(device) if known else None
    scene = model.predict(video[:, :context], horizon, actions)
    future = scene.map(lambda x: x[:, context:])
    figures: dict[str, dict[str, np.ndarray]] = {"model": {}, "last frame": {}}
    target = video[:, context:].flatten(0, 1)
    pictures = model.images(future).flatten(0, 1)
    last = video[:, context - 1 : context].expand(-1, horizon, -1, -1, -1).flatten(0, 1)
    for name, score in scores.items():
        for method, image in (("model", pictures), ("last frame", last)):
            figures[method][name] = score(target, image).view(-1, horizon).float().cpu().numpy()
    states = [e.states for e in episodes if e.states and "position" in e.states]
    if len(states) == len(episodes):
        truth = np.stack([s["position"] for s in states])
        visible = np.stack([s.get("visible", np.ones(s["position"].shape[:2])) for s in states]).astype(bool)
        for method, found in _positions(scene, context, horizon).items():
            figures.setdefault(method, {}).update(
                _errors(found[0], found[1], truth[:, context:], visible[:, context:], side)
            )
        true_velocity = truth[:, context - 1] - truth[:, context - 2] if context > 1 else 0 * truth[:, 0]
        straight = _straight(truth[:, context - 1], true_velocity, horizon)
        gap = np.linalg.norm(straight - truth[:, context:], axis=-1) * _sides(side)
        figures["true constant velocity"] = {"error": _mean_over(gap, visible[:, context:])}
    return figures


def _positions(
    scene: Scene, context: int, horizon: int
) -> dict[str, tuple[Float[np.ndarray, "B H N 2"], Bool[np.ndarray, "B H N"]]]:
    """Where each method puts the particles, and which are on."""
    position = scene.particles.position.float().cpu().numpy()
    on = scene.particles.transparency[..., 0].float().cpu().numpy() > metrics.ON
    now = position[:, context - 1]
    velocity = now - position[:, context - 2] if context > 1 else 0 * now
    still_on = np.repeat(on[:, context - 1 : context], horizon, 1)
    return {
        "model": (position[:, context:], on[:, context:]),
        "last frame": (np.repeat(now[:, None], horizon, 1), still_on),
        "constant velocity": (_straight(now, velocity, horizon), still_on),
    }


def _straight(position: np.ndarray, velocity: np.ndarray, horizon: int) -> np.ndarray:
    return position[:, None] + np.arange(1, horizon + 1)[:, None, None] * velocity[:, None]


def _sides(side: int) -> float:
    """Image sides per unit of position."""
    return 0.5 * (side - 1) / side


def _errors(
    position: Float[np.ndarray, "B H N 2"],
    on: Bool[np.ndarray, "B H N"],
    truth: Float[np.ndarray, "B H O 2"],
    visible: Bool[np.ndarray, "B H O"],
    side: int,
) -> dict[str, Float[np.ndarray, "B H"]]:
    """Distance of objects from the particles that they were matched to first, and the share that is lost."""
    slot = np.stack(
        [_match(p[0], o[0], t[0], v[0]) for p, o, t, v in zip(position, on, truth, visible, strict=True)]
    )
    matched = np.repeat((slot >= 0)[:, None], truth.shape[1], 1)
    index = np.broadcast_to(np.maximum(slot, 0)[:, None], truth.shape[:3])
    followed = np.take_along_axis(position, index[..., None], 2)
    gap = np.linalg.norm(followed - truth, axis=-1) * _sides(side)
    alive = matched & np.take_along_axis(on, index, 2) & (gap < _LOST)
    n_visible = np.maximum(visible.sum(-1), 1)
    return {
        "error": _mean_over(gap, matched & visible),
        "lost": (visible & ~alive).sum(-1) / n_visible,
    }


def _mean_over(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean over objects; NaN where there is none."""
    n = where.sum(-1)
    return np.where(n > 0, (values * where).sum(-1) / np.maximum(n, 1), np.nan)


def _match(
    position: Float[np.ndarray, "N 2"],
    on: Bool[np.ndarray, " N"],
    truth: Float[np.ndarray, "O 2"],
    visible: Bool[np.ndarray, " O"],
) -> Int[np.ndarray, " O"]:
    """The slot of each visible object, of those that are on, or -1 (Hungarian algorithm)."""
    slot = np.full(len(truth), -1)
    slots, objects = np.flatnonzero(on), np.flatnonzero(visible)
    if len(slots) and len(objects):
        gap = np.linalg.norm(truth[objects, None] - position[None, slots], axis=-1)
        rows, columns = linear_sum_assignment(gap)
        slot[objects[rows]] = slots[columns]
    return slot


def _report(judged: list[dict[str, dict[str, np.ndarray]]], context: int, episodes: int) -> VideoReport:
    per_step: dict[str, dict[str, list[float]]] = {}
    overall: dict[str, dict[str, float]] = {}
    for method in judged[0]:
        per_step[method], overall[method] = {}, {}
        for name in judged[0][method]:
            values = np.concatenate([part[method][name] for part in judged])
            known = ~np.isnan(values)
            curve = np.nansum(values, 0) / np.maximum(known.sum(0), 1)
            per_step[method][name] = curve.tolist()
            overall[method][name] = float(curve.mean())
            if name == "error":
                overall[method]["med_10"] = float(curve[:_FIRST_STEPS].sum())
                overall[method]["error_step_10"] = float(curve[min(_FIRST_STEPS, len(curve)) - 1])
    return VideoReport(overall, per_step, context, episodes)
