"""Sets of points of the plane, from known densities: those of Soft-IntroVAE (arXiv 2012.13253), and three more."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from dlp_dyn.errors import InputError

Points = Float[np.ndarray, "n 2"]
MODE_STD = 0.02 / 1.414  # of the modes of 8gaussians


def points(name: str, n: int, rng: np.random.Generator) -> Points:
    """n points of a set. Raises InputError for a set that is not there."""
    if name not in DENSITIES:
        raise InputError(f"no set of points '{name}'; there are {', '.join(DENSITIES)}")
    return DENSITIES[name](n, rng).astype(np.float32)


def limit(name: str) -> float:
    """Half the side of the square, centred at the origin, that a set is shown and measured in."""
    return 2.0 if name == "8gaussians" else 4.0


def modes(name: str) -> Points | None:
    """Centres of a set that consists of few narrow modes; None of others."""
    if name != "8gaussians":
        return None
    angle = np.arange(8) * np.pi / 4
    return 2 / 1.414 * np.stack([np.cos(angle), np.sin(angle)], 1)


def _eight_gaussians(n: int, rng: np.random.Generator) -> Points:
    centres = modes("8gaussians")
    assert centres is not None
    return centres[rng.integers(8, size=n)] + MODE_STD * rng.standard_normal((n, 2))


def _twenty_five_gaussians(n: int, rng: np.random.Generator) -> Points:
    grid = 2.0 * rng.integers(-2, 3, size=(n, 2))
    return (grid + 0.05 * rng.standard_normal((n, 2))) / 1.414


def _two_spirals(n: int, rng: np.random.Generator) -> Points:
    r = 3 * np.pi * np.sqrt(rng.random(n))
    arm = np.stack([-r * np.cos(r) + 0.5 * rng.random(n), r * np.sin(r) + 0.5 * rng.random(n)], 1)
    sign = np.where(np.arange(n) % 2, 1, -1)[:, None]
    return sign * arm / 3 + 0.1 * rng.standard_normal((n, 2))


def _checkerboard(n: int, rng: np.random.Generator) -> Points:
    x = 4 * rng.random(n) - 2
    y = rng.random(n) - 2 * rng.integers(2, size=n) + np.floor(x) % 2
    return 2 * np.stack([x, y], 1)


def _rings(n: int, rng: np.random.Generator) -> Points:
    radius = 0.75 * rng.integers(1, 5, size=n)
    angle = 2 * np.pi * rng.random(n)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    return radius[:, None] * circle + 0.08 * rng.standard_normal((n, 2))


def _moons(n: int, rng: np.random.Generator) -> Points:
    angle, lower = np.pi * rng.random(n), np.arange(n) % 2
    x = np.where(lower, 1 - np.cos(angle), np.cos(angle)) - 0.5
    y = np.where(lower, 0.5 - np.sin(angle), np.sin(angle)) - 0.25
    return 2 * np.stack([x, y], 1) + 0.1 * rng.standard_normal((n, 2))


def _pinwheel(n: int, rng: np.random.Generator) -> Points:
    x, y = 0.3 * rng.standard_normal(n) + 1, 0.1 * rng.standard_normal(n)
    angle = 2 * np.pi * rng.integers(5, size=n) / 5 + 0.25 * np.exp(x)
    return 2 * np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], 1)


def _swiss_roll(n: int, rng: np.random.Generator) -> Points:
    t = 1.5 * np.pi * (1 + 2 * rng.random(n))
    return np.stack([t * np.cos(t) - 2, t * np.sin(t)], 1) / 5 + 0.1 * rng.standard_normal((n, 2))


DENSITIES: Mapping[str, Callable[[int, np.random.Generator], Points]] = {
    "8gaussians": _eight_gaussians,
    "2spirals": _two_spirals,
    "checkerboard": _checkerboard,
    "rings": _rings,
    "25gaussians": _twenty_five_gaussians,
    "moons": _moons,
    "pinwheel": _pinwheel,
    "swiss_roll": _swiss_roll,
}
