"""Edits as data: rollouts in which a particle is hidden, copied, recoloured or has swapped its looks with another.

The model finds the particles, one is edited over a whole episode, and the frames change by what drawing the edited
scene changes: what the edit does not touch keeps its pixels. Actions, rewards and ends are the true ones.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from dlp_dyn import folders
from dlp_dyn.clip import to_images
from dlp_dyn.data.writer import PARTS, Episode, Part, RolloutWriter
from dlp_dyn.errors import InputError
from dlp_dyn.exporting.tracks import opened
from dlp_dyn.particles import Scene
from dlp_dyn.video import VideoModel
from dlp_dyn.viewer import edits

KINDS = ("hide", "copy", "recolour", "swap")
_PIECE = 32  # frames that are drawn at once
_LEAST_TURN = 60.0  # degrees: less may pass for the same colour


@dataclass(frozen=True)
class Edit:
    """What was done to an episode. None: nothing could be, too few particles are on.

    source: number of the episode in the file it comes from. particle, other: slots of the model. turn: of the hue, in
    degrees.
    """

    source: int
    kind: str | None
    particle: int = -1
    other: int = -1
    turn: float = 0.0


def choose(scene: Scene, kind: str, source: int, rng: np.random.Generator) -> Edit:
    """A random edit of one kind, of particles that are on in most of the frames of an episode (1, T, ...)."""
    on = scene.particles.visible[0].float().mean(0)
    slots = [i for i in range(len(on)) if on[i] > 0.5]
    if len(slots) < (2 if kind == "swap" else 1):
        return Edit(source, None)
    chosen = rng.permutation(slots).tolist()
    turn = float(rng.uniform(_LEAST_TURN, 360 - _LEAST_TURN)) if kind == "recolour" else 0.0
    return Edit(source, kind, chosen[0], chosen[1] if kind == "swap" else -1, turn)


@torch.no_grad()
def edited(
    model: VideoModel, scene: Scene, frames: UInt8[np.ndarray, "T H W 3"], edit: Edit
) -> UInt8[np.ndarray, "T H W 3"]:
    """The frames after an edit of the scene (1, T, ...) that was found in them."""
    if edit.kind is None:
        return frames
    before = scene[0]
    after = before
    if edit.kind == "hide":
        after = edits.hide(before, edit.particle)
    elif edit.kind == "copy":
        after, _ = edits.copy(before, edit.particle, room_for_more=True)
    elif edit.kind == "swap":
        after = edits.swap_appearance(before, edit.particle, edit.other)
    pieces = []
    for begin in range(0, len(frames), _PIECE):
        part = slice(begin, begin + _PIECE)
        images = to_images(frames[part], before.background.device)
        drawn = model.decode(before[part])
        if edit.kind == "recolour":
            mask = model.image.masks(before[part], drawn)[:, edit.particle, None]
            images = torch.lerp(images, turn_hue(images, edit.turn), mask)
        else:
            images = images + model.decode(after[part]).image - drawn.image
        pieces.append((images.clamp(0, 1) * 255).round().byte().movedim(1, -1).cpu().numpy())
    return np.concatenate(pieces)


def turn_hue(images: Float[Tensor, "B 3 H W"], degrees: float) -> Float[Tensor, "B 3 H W"]:
    """Colours turned around the grey axis: grey stays, 120 degrees take red to green."""
    angle = torch.tensor(degrees, device=images.device).deg2rad()
    aligned = images.mean(1, keepdim=True)
    sideways = (images.roll(1, 1) - images.roll(-1, 1)) / 3**0.5  # the cross product with (1, 1, 1) / sqrt(3)
    return (aligned + (images - aligned) * angle.cos() + sideways * angle.sin()).clamp(0, 1)


def augment(
    source: str | Path,
    out: str | Path,
    run: str | Path,
    kinds: Sequence[str] = KINDS,
    part: Part = "train",
    episodes: int | None = None,
    seed: int = 0,
    originals: bool = False,
    device: str = "cpu",
    progress: Callable[[int], None] = lambda done: None,  # noqa: ARG005
) -> list[Edit]:
    """Write every episode of a part once, with one edit each; the kinds take turns.

    What was edited goes to `OUT.edits.jsonl`, a line an episode. Ground truth and other cameras, which would no longer
    fit the pictures, are left out. episodes: only the first ones. originals: the episodes of all parts as they are, but
    for that, come first, so that the file can be trained on.
    Raises InputError for an image model, frames of another size, and a part without episodes.
    """
    out = Path(out)
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"edit {kind!r}: use {', '.join(KINDS)}")
    model, rollouts = opened(run, source, device)
    index = rollouts.some_of(part, episodes)
    rng, done = np.random.default_rng(seed), []
    kept = {k: v for k, v in rollouts.attributes.items() if k not in ("format_version", "split_seed")}
    with RolloutWriter(out, seed=seed, attributes=kept) as writer:

        def append(i: int, episode: Episode, part: Part) -> None:
            writer.append(replace(episode, states=None, views=None), part, text=rollouts.episode_texts[i])

        for each in PARTS if originals else ():
            for i in rollouts.part(each).tolist():
                append(i, rollouts.episode(i), each)
        for n, i in enumerate(index.tolist()):
            episode = rollouts.episode(i)
            video = to_images(episode.frames, device)
            scene = model.follow(piece[None] for piece in video.split(_PIECE))
            done.append(choose(scene, kinds[n % len(kinds)], i, rng))
            append(i, replace(episode, frames=edited(model, scene, episode.frames, done[-1])), part)
            progress(n + 1)
    lines = "".join(f"{json.dumps(asdict(edit))}\n" for edit in done)
    folders.write_file(out.with_name(f"{out.name}.edits.jsonl"), lines.encode())
    return done
