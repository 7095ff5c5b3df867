"""The Chamfer reward: symmetry, zero at equality, farther is worse, and losing an object never pays."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.rewards import ChamferConfig, ChamferReward, Things, chamfer
from dlp_dyn.errors import InputError

KINDS = ("plain", "density", "capped")


def things(packed: np.ndarray) -> Things:
    """Columns: x, y, present, two features."""
    return Things(packed[..., :2], packed[..., 3:], packed[..., 2] > 0.5)


def a_set(rng: np.random.Generator, n: int, batch: tuple[int, ...] = (), looks: int = 3) -> np.ndarray:
    """Particles of `looks` kinds that are told apart easily."""
    packed = rng.uniform(-1, 1, (*batch, n, 5))
    packed[..., 2] = rng.random((*batch, n)) < 0.8
    packed[..., 3] = 10 * rng.integers(0, looks, (*batch, n)) + rng.uniform(-0.5, 0.5, (*batch, n))
    return packed


def reward(**cfg: Any) -> ChamferReward:
    return ChamferReward(ChamferConfig(**cfg), things)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_one_by_one_equals_all_at_once_to_the_last_bit(kind: str, norm: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    f = reward(kind=kind, norm=norm)
    a, b = a_set(rng, 9, (64,)).astype(dtype), a_set(rng, 11, (64,)).astype(dtype)
    together = f(a, b)
    assert together.dtype == np.float64
    assert len(np.unique(together)) > 50
    np.testing.assert_array_equal(together, [f(x, y) for x, y in zip(a, b, strict=True)])
    np.testing.assert_array_equal(together.reshape(8, 8), f(a.reshape(8, 8, 9, 5), b.reshape(8, 8, 11, 5)))


@pytest.mark.parametrize("kind", KINDS)
def test_zero_at_equality_whatever_the_order_and_the_absent(kind: str) -> None:
    rng = np.random.default_rng(1)
    a = a_set(rng, 8, (50,))
    a[:, 0, 2] = 1
    b = a[:, rng.permutation(8)]
    absent = b[..., 2] < 0.5
    b[absent, :2] += 7
    np.testing.assert_array_equal(reward(kind=kind)(a, b), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_symmetry(kind: str) -> None:
    """Capped: of sets as large as one another; in a larger state it looks at the best ones."""
    rng = np.random.default_rng(2)
    a, b = a_set(rng, 8, (200,)), a_set(rng, 8, (200,))
    if kind == "capped":
        b[..., 2] = a[:, rng.permutation(8), 2]
    f = reward(kind=kind)
    np.testing.assert_allclose(f(a, b), f(b, a), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_farther_is_worse(kind: str) -> None:
    goal = np.array([[0.0, 0, 1, 0, 0], [0.5, 0.5, 1, 10, 0]])
    rewards = []
    for away in np.linspace(0, 1.2, 13):
        state = goal.copy()
        state[0, 0] -= away
        rewards.append(float(reward(kind=kind)(state, goal)))
    assert rewards == sorted(rewards, reverse=True)
    assert len(set(rewards)) == 13
    # One of two is away: half of the distance, in the units of each kind.
    assert rewards[-1] == pytest.approx(-0.6 / (2.0 if kind == "capped" else 1.0))


def test_ecrls_flaw_is_there_in_its_version_and_not_in_ours() -> None:
    goal = np.array([[0.9, 0.9, 1, 0, 0], [0.0, 0.0, 1, 10, 0]])
    far, lost = goal.copy(), goal.copy()
    far[0, :2] = -0.9
    lost[0, 2] = 0
    for kind in ("plain", "density"):
        assert reward(kind=kind, norm="l1")(lost, goal) > reward(kind=kind, norm="l1")(far, goal)
    for norm in ("l1", "l2"):
        assert reward(kind="capped", norm=norm)(lost, goal) <= reward(kind="capped", norm=norm)(far, goal)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 7), st.floats(0.1, 4))
def test_losing_never_pays(seed: int, n_state: int, n_goal: int, cap: float) -> None:
    """Whatever is taken away: one particle, several, of many or of few, alike or not."""
    rng = np.random.default_rng(seed)
    state, goal = a_set(rng, n_state, looks=2), a_set(rng, n_goal, looks=2)
    f = reward(cap=cap)
    whole = f(state, goal)
    assert -1 <= whole <= 0
    for size in range(1, n_state + 1):
        for gone in itertools.combinations(range(n_state), size):
            less = state.copy()
            less[list(gone), 2] = 0
            assert f(less, goal) <= whole + 1e-12


def test_density_is_ecrls_formula() -> None:
    """Its five steps, one pair at a time, as the specification words them."""

    def one_way(a: Things, b: Things) -> tuple[float, float]:
        """From each of b to a."""
        groups: dict[int, list[float]] = {}
        lost = False
        for j in np.flatnonzero(b.present):
            costs = [
                ((a.features[i] - b.features[j]) ** 2).sum() if a.present[i] else np.inf
                for i in range(len(a.present))
            ]
            i = int(np.argmin(costs))
            if costs[i] <= 6:
                groups.setdefault(i, []).append(np.abs(a.position[i] - b.position[j]).sum())
            else:
                lost = True
        return sum(float(np.mean(g)) for g in groups.values()) + lost, len(groups) + lost

    rng = np.random.default_rng(4)
    f = reward(kind="density", norm="l1")
    for _ in range(200):
        a, b = a_set(rng, 6), a_set(rng, 7)
        expected = -1.0
        if things(a).present.any() and things(b).present.any():
            there, back = one_way(things(a), things(b)), one_way(things(b), things(a))
            expected = -(there[0] / there[1] + back[0] / back[1]) / 2
        assert f(a, b) == pytest.approx(expected, abs=1e-12)


def test_several_particles_on_one_object_count_once() -> None:
    goal = np.array([[0.0, 0, 1, 0, 0], [0.5, 0, 1, 10, 0], [0.5, 0, 1, 10, 0], [0.5, 0, 1, 10, 0]])
    state = goal.copy()
    state[0, 0] = 0.4
    state[1:, 2] = 1, 0, 0
    assert chamfer(ChamferConfig("density"), _one(state), _one(goal))[0] == pytest.approx(-0.2)


def _one(packed: np.ndarray) -> Things:
    return things(packed[None])


def test_empty_sets_are_the_worst() -> None:
    some = np.array([[0.0, 0, 1, 0, 0]])
    none = np.array([[0.0, 0, 0, 0, 0]])
    for kind in KINDS:
        assert reward(kind=kind)(some, none) == reward(kind=kind)(none, some) == -1


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match="cap is 0; give a number, above 0"):
        ChamferConfig(cap=0)
