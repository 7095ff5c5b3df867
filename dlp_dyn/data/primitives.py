"""Point clouds on the surfaces of spheres, boxes, cylinders and tori of any proportions and orientation."""

import numpy as np
from jaxtyping import Float

KINDS = ("sphere", "box", "cylinder", "torus")

Cloud = Float[np.ndarray, "n 3"]


def clouds(n_clouds: int, n_points: int, rng: np.random.Generator) -> Float[np.ndarray, "C n 3"]:
    """Kinds in turn, each turned at random about the vertical axis; points within 0.5 of the origin."""
    made = [_SURFACES[KINDS[i % len(KINDS)]](n_points, rng) for i in range(n_clouds)]
    return np.stack([_placed(cloud, rng) for cloud in made]).astype(np.float32)


def _placed(cloud: Cloud, rng: np.random.Generator) -> Cloud:
    angle = 2 * np.pi * rng.random()
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    size = rng.uniform(0.35, 0.5)
    return cloud @ turn.T * (size / np.linalg.norm(cloud, axis=1).max())


def _sphere(n: int, rng: np.random.Generator) -> Cloud:
    x = rng.standard_normal((n, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _box(n: int, rng: np.random.Generator) -> Cloud:
    sides = rng.uniform(0.4, 1.0, 3)
    areas = np.prod(sides) / sides
    axis = rng.choice(3, n, p=areas / areas.sum())
    x = rng.uniform(-1, 1, (n, 3))
    x[np.arange(n), axis] = rng.choice((-1.0, 1.0), n)
    return x * sides


def _cylinder(n: int, rng: np.random.Generator) -> Cloud:
    radius, half = rng.uniform(0.3, 1.0), rng.uniform(0.4, 1.0)
    on_side = rng.random(n) < 2 * half / (2 * half + radius)  # areas: 4 pi r h, and 2 pi r^2 of the lids
    r = np.where(on_side, radius, radius * np.sqrt(rng.random(n)))
    z = np.where(on_side, rng.uniform(-half, half, n), half * rng.choice((-1.0, 1.0), n))
    angle = 2 * np.pi * rng.random(n)
    return np.stack([r * np.cos(angle), r * np.sin(angle), z], 1)


def _torus(n: int, rng: np.random.Generator) -> Cloud:
    tube = rng.uniform(0.15, 0.45)
    ring = np.empty(0)
    while len(ring) < n:  # more of the outside than of the inside, as there is more of it
        angle = 2 * np.pi * rng.random(2 * n)
        kept = angle[rng.random(2 * n) < (1 + tube * np.cos(angle)) / (1 + tube)]
        ring = np.append(ring, kept)
    ring, around = ring[:n], 2 * np.pi * rng.random(n)
    r = 1 + tube * np.cos(ring)
    upright = np.stack([r * np.cos(around), r * np.sin(around), tube * np.sin(ring)], 1)
    return upright[:, [0, 2, 1]]  # it stands, so that turning it about the vertical shows


_SURFACES = {"sphere": _sphere, "box": _box, "cylinder": _cylinder, "torus": _torus}
