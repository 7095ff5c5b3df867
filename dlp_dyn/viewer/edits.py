"""Changing one particle of a scene and of the frames that led to it: pure functions from history to history.

A history is a `Scene` over (T, ...), the last frame being the one that is shown. Dynamics see all of it, so an edit
goes back in time: a particle that is moved was always that far away, and keeps its velocity.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from dlp_dyn.errors import InputError
from dlp_dyn.particles import Particles, Scene

_SIZES = (0.02, 0.98)  # the logit has no end
_LIMITS = {
    "x": (-2.0, 2.0), "y": (-2.0, 2.0), "width": _SIZES, "height": _SIZES, "motion_x": (-1.0, 1.0),
    "motion_y": (-1.0, 1.0), "depth": (-9.0, 9.0), "transparency": (0.0, 1.0),
}  # fmt: skip
_FEATURE_LIMITS = (-20.0, 20.0)
_COPY_DISTANCE = 0.3
_STAYED = 0.02  # a particle that is no farther from where it was has not been moved: less than a pixel of 64
_IN_FRONT = 10.0  # how many times as near as the next one a particle is that covers it; `geometry.composite`


def limits(name: str) -> tuple[float, float]:
    """The least and the greatest value that an attribute may be given."""
    return _LIMITS.get(name, _FEATURE_LIMITS)


def attributes(history: Scene, i: int) -> dict[str, float]:
    """All numbers of particle i in the last frame, by the names that `change` takes.

    x, y: in [-1, 1]. width, height: fractions of the image side. motion_x, motion_y: from the frame before, 0 where
    there is none. depth: larger is farther. transparency: 1 is on. feature_0, ...: looks.
    """
    p = history.particles[:, i]
    motion = p.position[-1] - p.position[-2] if len(p.position) > 1 else torch.zeros_like(p.position[-1])
    pairs = {"x y": p.position[-1], "width height": p.size[-1], "motion_x motion_y": motion}
    values = {n: float(v) for names, pair in pairs.items() for n, v in zip(names.split(), pair, strict=True)}
    values |= {"depth": float(p.depth[-1, 0]), "transparency": float(p.transparency[-1, 0])}
    return values | {f"feature_{k}": float(value) for k, value in enumerate(p.features[-1])}


def moved(before: Scene, after: Scene) -> dict[int, tuple[float, float]]:
    """Where the particles of `before` are in `after`, those that are elsewhere there and on, by their numbers."""
    was, now = before.particles[-1], after.particles[-1]
    n = len(was.position)
    far = (now.position[:n] - was.position).norm(dim=-1) > _STAYED
    chosen = (far & was.visible & now.visible[:n]).nonzero()[:, 0].tolist()
    return {i: (float(now.position[i, 0]), float(now.position[i, 1])) for i in chosen}


def change(history: Scene, i: int, values: Mapping[str, float]) -> Scene:
    """Particle i with these attributes in the last frame, the others as they were; names as in `attributes`.

    The frames before are shifted alike; transparency is the same in all of them; a motion bends the path so that it
    ends in the same place. Raises InputError for an unknown name and for values out of range.
    """
    now = attributes(history, i)
    for name, value in values.items():
        _check(name, value, now)
    p = history.particles
    by = {name: value - now[name] for name, value in values.items()}
    fields: dict[str, Tensor] = {}

    t = len(p.position)
    back = torch.arange(1 - t, 1, device=p.position.device)[:, None]  # frames from the last one: ..., -1, 0
    push = p.position.new_tensor([by.get("motion_x", 0.0), by.get("motion_y", 0.0)])
    offset = p.position.new_tensor([by.get("x", 0.0), by.get("y", 0.0)])
    if t > 1:
        offset = offset + back * push
    fields["position"] = _at(p.position, i, p.position[:, i] + offset)

    last = p.scale[-1, i].tolist()
    wider = [_logit(values[n]) - last[k] if n in values else 0.0 for k, n in enumerate(("width", "height"))]
    fields["scale"] = _at(p.scale, i, p.scale[:, i] + p.scale.new_tensor(wider))
    fields["depth"] = _at(p.depth, i, p.depth[:, i] + by.get("depth", 0.0))
    if "transparency" in values:
        fields["transparency"] = _at(
            p.transparency, i, p.transparency.new_full((t, 1), values["transparency"])
        )
    shift = [by.get(f"feature_{k}", 0.0) for k in range(p.features.shape[-1])]
    fields["features"] = _at(p.features, i, p.features[:, i] + p.features.new_tensor(shift))
    return replace(history, particles=replace(p, **fields))


def hide(history: Scene, i: int) -> Scene:
    return change(history, i, {"transparency": 0.0})


def show(history: Scene, i: int, found: Scene) -> Scene:
    """Particle i on. One that is off in the history that was found has no path, it jumps about: it rests."""
    shown = change(history, i, {"transparency": 1.0})
    if i >= n_particles(found) or found.particles.visible[-1, i]:
        return shown
    p = shown.particles
    return replace(shown, particles=replace(p, position=_at(p.position, i, p.position[-1, i])))


def swap_appearance(history: Scene, i: int, j: int) -> Scene:
    """The features of two particles exchanged, in all frames."""
    order = list(range(n_particles(history)))
    order[i], order[j] = j, i
    return replace(
        history, particles=replace(history.particles, features=history.particles.features[:, order])
    )


def copy(history: Scene, i: int, room_for_more: bool) -> tuple[Scene, int]:
    """Particle i once more, a little nearer to the middle of the image, and the number of the copy.

    room_for_more: whether the model takes another particle; otherwise the copy takes the place of one that is off.
    Raises InputError for a particle that is off, and when all are on.
    """
    if not history.particles.visible[-1, i]:
        raise InputError(f"particle {i} is off: show it before you copy it")
    p, last = history.particles, history.particles.transparency[-1, :, 0]
    if room_for_more:
        slot = n_particles(history)
        particles = p.map(lambda x: torch.cat([x, x[:, i : i + 1]], 1))
    else:
        slot = int(last.argmin())
        if p.visible[-1, slot]:
            raise InputError(f"all {len(last)} particles of this model are in use: hide one before you copy")
        particles = p.map(lambda x: _at(x, slot, x[:, i]))
    x, y = p.position[-1, i].tolist()
    beside = {
        "x": x + math.copysign(_COPY_DISTANCE, -x),
        "y": y + math.copysign(_COPY_DISTANCE, -y),
    }
    return change(replace(history, particles=particles), slot, beside), slot


def bring_forward(history: Scene, i: int) -> Scene:
    """Particle i in front of all others: nearer, and the others farther by as much as covering them takes."""
    p = history.particles
    others = _visible_others(p, i)
    if not len(others):
        return history
    nearest = float(p.depth[-1, others, 0].min())
    mine = min(float(p.depth[-1, i, 0]), nearest - 2)
    farther = max(_depth_of(_nearness(mine) / _IN_FRONT) - nearest, 0.0)
    depth = _at(p.depth + farther, i, p.depth[:, i])
    return change(replace(history, particles=replace(p, depth=depth)), i, {"depth": mine})


def send_back(history: Scene, i: int) -> Scene:
    """Particle i behind all others."""
    p = history.particles
    others = _visible_others(p, i)
    if not len(others):
        return history
    behind = _depth_of(_nearness(float(p.depth[-1, others, 0].max())) / _IN_FRONT)
    return change(history, i, {"depth": max(float(p.depth[-1, i, 0]), behind)})


def n_particles(history: Scene) -> int:
    return history.particles.position.shape[1]


SIMPLE: dict[str, Callable[[Scene, int], Scene]] = {
    "hide": hide,
    "forward": bring_forward,
    "back": send_back,
}


def _check(name: str, value: float, known: Mapping[str, float]) -> None:
    if name not in known:
        raise InputError(f"attribute {name!r}: a particle has {', '.join(known)}")
    low, high = limits(name)
    if not low <= value <= high:
        raise InputError(f"{name} {value:g}: give a number from {low:g} to {high:g}")


def _visible_others(p: Particles, i: int) -> list[int]:
    return [j for j, on in enumerate(p.visible[-1].tolist()) if on and j != i]


def _at(x: Tensor, i: int, values: Tensor) -> Tensor:
    """A copy of x over (T, N, ...) with the values of particle i replaced."""
    x = x.clone()
    x[:, i] = values
    return x


def _logit(fraction: float) -> float:
    return math.log(fraction / (1 - fraction))


def _nearness(depth: float) -> float:
    return 1 / (1 + math.exp(depth))


def _depth_of(nearness: float) -> float:
    return -_logit(nearness)
