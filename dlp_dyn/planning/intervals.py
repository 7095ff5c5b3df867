"""How sure success rates are."""

import numpy as np
from jaxtyping import Bool, Float, Shaped

_Z = 1.959964  # two-sided 95% of a normal distribution


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927). Nothing is known of 0 trials."""
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, _Z**2 / n
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z * np.sqrt(share * (1 - share) / n + z2 / (4 * n)) / (1 + z2)
    low, high = float(max(centre - half, 0.0)), float(min(centre + half, 1.0))
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def paired_difference(
    a: Shaped[np.ndarray, " E"], b: Shaped[np.ndarray, " E"], seed: int = 0, resamples: int = 2000
) -> tuple[float, float, float]:
    """The mean of a - b on the same problems and its 95% interval, from problems drawn with replacement."""
    gap: Float[np.ndarray, " E"] = np.asarray(a, float) - np.asarray(b, float)
    rng = np.random.default_rng(seed)
    means = gap[rng.integers(len(gap), size=(resamples, len(gap)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(gap.mean()), float(low), float(high)


def first_hold(solved: Bool[np.ndarray, " T"], hold: int) -> int | None:
    """The first moment at which something has been so for `hold` moments in a row."""
    run = 0
    for t, now in enumerate(solved):
        run = run + 1 if now else 0
        if run == hold:
            return t
    return None
