"""Evaluating an image model on rollouts: pictures, and particles where the truth is known."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dlp_dyn import geometry, metrics
from dlp_dyn.checkpoint import load_model, rollouts_of
from dlp_dyn.clip import to_images
from dlp_dyn.data.inspection import Inspection, inspect_rollouts
from dlp_dyn.data.rollouts import Part, Rollouts
from dlp_dyn.data.writer import Episode
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation import masks, moving
from dlp_dyn.evaluation.masks import MaskScores, evaluate_masks
from dlp_dyn.evaluation.moving import Moving, evaluate_moving
from dlp_dyn.image.model import DLP
from dlp_dyn.particles import ON

Score = Callable[[Tensor, Tensor], Tensor]  # (target, image) of shape (B, C, H, W) -> (B,)


@dataclass(frozen=True)
class Matches:
    """Particles matched to objects, frame by frame; `slot` and `distance` as in `metrics.Match`.

    contact: whether the middle of another visible object is nearer than a moving thing is large; None where nothing is
    known of what moves.
    """

    slot: Int[np.ndarray, "T O"]
    distance: Float[np.ndarray, "T O"]
    visible: Bool[np.ndarray, "T O"]
    contact: Bool[np.ndarray, "T O"] | None = None


@dataclass(frozen=True)
class FrameScores:
    """Per frame: pictures' scores by name, how many particles are on, matches and masks where the truth is known, and
    what moves where the camera stands still."""

    images: dict[str, Float[np.ndarray, " T"]]
    n_on: Int[np.ndarray, " T"]
    matches: Matches | None = None
    moving: Moving | None = None
    masks: MaskScores | None = None


@dataclass(frozen=True)
class Report:
    """Means over all frames, and over the frames with each number of visible objects."""

    overall: dict[str, float]
    by_objects: dict[int, dict[str, float]]


def evaluate(
    run: str | Path,
    data: str | Path,
    part: Part = "test",
    lpips: bool = False,
    device: str = "cpu",
    max_episodes: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Judge the model of a run (its best checkpoint, else its last) or checkpoint on every frame of a part.

    max_episodes: look at the first ones only. progress: told how many episodes are done.
    Raises InputError when the part is empty or the frames are of another size than the model's.
    """
    model, rollouts = load_model(run, device), rollouts_of(run, data)
    check_size(model, rollouts)
    episodes = rollouts.some_of(part, max_episodes)
    found = inspect_rollouts(rollouts)
    scores: dict[str, Score] = {"psnr": metrics.psnr, "ssim": metrics.ssim}
    if lpips:
        scores["lpips"] = metrics.Lpips().to(device)
    evaluated = []
    for done, index in enumerate(episodes, start=1):
        evaluated.append(evaluate_episode(model, rollouts.episode(int(index)), scores, found=found))
        if progress:
            progress(done)
    return report(evaluated)


def check_size(model: DLP, rollouts: Rollouts) -> None:
    """Raises InputError for frames of another size, and for a model that asks for several views of them."""
    check_views(model, rollouts.path)
    check_frames(model.cfg.image_size, rollouts)


def check_views(model: DLP, path: str | Path) -> None:
    """Raises InputError for a model of several views: of data, one camera is read."""
    if (views := model.cfg.encoder.views) > 1:
        raise InputError(
            f"{path}: one view of each scene is read from it, the model sees {views} together; use a model with "
            "model.encoder.views=1, or give the views to VideoModel.predict yourself"
        )


def check_frames(side: int, rollouts: Rollouts) -> None:
    """Raises InputError for frames of another size."""
    if rollouts.image_size != (side, side):
        height, width = rollouts.image_size
        raise InputError(
            f"{rollouts.path}: frames of {width}x{height} pixels, the model sees {side}x{side}; "
            f"collect or import them at {side} pixels, or set model.image_size"
        )


def spread_frames(rollouts: Rollouts, part: Part, n: int) -> Episode:
    """At most n frames spread evenly over a part, always the same ones; not in a row, whatever the type says."""
    episodes = rollouts.part(part)
    if not len(episodes):
        raise InputError(
            f"{rollouts.path}: no episode in the {part} part ({rollouts.n_episodes} in all); "
            "add episodes, or cut long ones when they are imported"
        )
    starts, ends = rollouts.episode_starts[episodes], rollouts.episode_ends[episodes]
    rows = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, n).round().astype(int))]
    return Episode(rollouts.frames(rows), states=rollouts.states_at(rows) or None)


def evaluate_held_out(model: DLP, frames: Episode, found: Inspection | None = None) -> dict[str, float]:
    """PSNR of frames, what is drawn of what moves and, where the truth is known, position error, recall, precision."""
    was_training = model.training
    model.eval()
    figures = summary([evaluate_episode(model, frames, {"psnr": metrics.psnr}, found=found)])
    model.train(was_training)
    return figures


@torch.no_grad()
def evaluate_episode(
    model: DLP,
    episode: Episode,
    scores: Mapping[str, Score],
    batch_size: int = 64,
    found: Inspection | None = None,
) -> FrameScores:
    """Encode (without noise) and decode every frame, and compare with the picture and with the truth.

    found: in the data; with a camera that stands still, particles are compared with what moves too.
    """
    device = next(model.parameters()).device
    images: dict[str, list[Tensor]] = {name: [] for name in scores}
    positions, transparencies, pieces, labels = [], [], [], []
    truth = (episode.states or {}).get("masks")
    for begin in range(0, len(episode), batch_size):
        batch = to_images(episode.frames[begin : begin + batch_size], device)
        scene = model.encode(batch).mean
        decoded = model.decode(scene)
        picture = decoded.image
        for name, score in scores.items():
            images[name].append(score(batch, picture).float().cpu())
        positions.append(scene.particles.position.float().cpu())
        transparencies.append(scene.particles.transparency[..., 0].float().cpu())
        if truth is not None:
            labels.append(masks.labels_of(model.masks(model.drawn(scene), decoded)))
        if found is not None and found.fixed_camera:
            frames = episode.frames[begin : begin + batch_size]
            drawn = picture.float().clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
            places = geometry.to_pixel(positions[-1], frames.shape[1]).numpy()
            pieces.append(evaluate_moving(found, frames, drawn, places, transparencies[-1].numpy() > ON))
    on = torch.cat(transparencies).numpy() > ON
    pictures = {name: torch.cat(values).numpy() for name, values in images.items()}
    all_moving = (
        Moving(*(np.concatenate(rows) for rows in zip(*map(astuple, pieces), strict=True)))
        if pieces
        else None
    )
    segmented = None if truth is None else evaluate_masks(np.concatenate(labels), truth)
    if not episode.states or "position" not in episode.states:
        return FrameScores(pictures, on.sum(1), moving=all_moving, masks=segmented)

    side = episode.frames.shape[1]
    objects = geometry.to_pixel(torch.from_numpy(episode.states["position"]).float(), side).numpy()
    particles = geometry.to_pixel(torch.cat(positions), side).numpy()
    visible = episode.states.get("visible", np.ones(objects.shape[:2], bool)).astype(bool)
    pairs = [metrics.match(*frame) for frame in zip(particles, on, objects, visible, strict=True)]
    contact = None if found is None or not found.count else _contact(objects, visible, found.sides[1])
    matches = Matches(
        np.stack([m.slot for m in pairs]), np.stack([m.distance for m in pairs]), visible, contact
    )
    return FrameScores(pictures, on.sum(1), matches, all_moving, segmented)


def _contact(
    objects: Float[np.ndarray, "T O 2"], visible: Bool[np.ndarray, "T O"], nearer: float
) -> Bool[np.ndarray, "T O"]:
    distance = np.linalg.norm(objects[:, :, None] - objects[:, None], axis=-1)
    other = visible[:, None] & ~np.eye(objects.shape[1], dtype=bool)
    return visible & (np.where(other, distance, np.inf) < nearer).any(2)


def report(evaluated: Sequence[FrameScores]) -> Report:
    """Means over episodes joined; slot changes are counted within each."""
    overall = summary(evaluated)
    known = [j.matches for j in evaluated if j.matches is not None]
    changes, chances = np.sum([metrics.slot_changes(m.slot, m.distance) for m in known] or [(0, 0)], axis=0)
    if chances:
        overall["flicker"] = float(changes / chances)
    counts = sorted({int(n) for m in known for n in m.visible.sum(1)})
    return Report(
        overall, {n: summary([_with_objects(j, n) for j in evaluated if j.matches]) for n in counts}
    )


def summary(evaluated: Sequence[FrameScores]) -> dict[str, float]:
    """Means over frames. A figure that has nothing to be taken over (no object, nothing on) is left out.

    position_error_px: mean distance of matched pairs. recall: share of visible objects with a particle of their own
    within 2 pixels. precision: share of the particles that are on which are such a particle. recall_contact,
    recall_free: of objects whose middle is nearer to another's than a moving thing is large, and of the others.
    fg_ari, miou, mbo: of the particles' masks, where there are instance masks (see `evaluation.masks`).
    """
    figures = {name: _mean(j.images[name] for j in evaluated) for name in evaluated[0].images}
    figures["particles_on"] = _mean(j.n_on for j in evaluated)
    figures["frames"] = float(sum(len(j.n_on) for j in evaluated))
    known = [(j.matches, j.n_on) for j in evaluated if j.matches is not None]
    if known:
        distances = np.concatenate([m.distance.ravel() for m, _ in known])
        n_visible, n_on = sum(int(m.visible.sum()) for m, _ in known), sum(int(on.sum()) for _, on in known)
        n_found = int((distances <= metrics.RADIUS_PX).sum())  # NaN, no partner, compares as False
        if not np.isnan(distances).all():
            figures["position_error_px"] = float(np.nanmean(distances))
        if n_visible:
            figures["recall"] = n_found / n_visible
        if n_on:
            figures["precision"] = n_found / n_on
        figures |= _recall_by_contact([m for m, _ in known])
    figures |= masks.summary(j.masks for j in evaluated if j.masks is not None)
    return figures | moving.summary(j.moving for j in evaluated if j.moving is not None)


def _recall_by_contact(known: Sequence[Matches]) -> dict[str, float]:
    figures = {}
    for name, touching in (("recall_contact", True), ("recall_free", False)):
        chosen = [m.visible & (m.contact == touching) for m in known if m.contact is not None]
        n = sum(int(c.sum()) for c in chosen)
        if n:
            near = [m.distance <= metrics.RADIUS_PX for m in known if m.contact is not None]
            figures[name] = sum(int((c & d).sum()) for c, d in zip(chosen, near, strict=True)) / n
    return figures


def _with_objects(j: FrameScores, n: int) -> FrameScores:
    """The frames with n visible objects."""
    assert j.matches is not None
    frames = j.matches.visible.sum(1) == n
    m = j.matches
    contact = None if m.contact is None else m.contact[frames]
    matches = Matches(m.slot[frames], m.distance[frames], m.visible[frames], contact)
    images = {name: values[frames] for name, values in j.images.items()}
    return FrameScores(images, j.n_on[frames], matches, masks=None if j.masks is None else j.masks.of(frames))


def _mean(arrays: Iterable[np.ndarray]) -> float:
    return float(np.concatenate(list(arrays)).mean())
