"""The foreground filter finds objects among background and agent, from motion alone."""

from pathlib import Path

import numpy as np
import pytest

from agents import foreground
from agents.foreground import ForegroundConfig
from agents.rewards import Things
from dlp_dyn.errors import InputError

BACKGROUND, OBJECTS, AGENT = 2, 4, 1
N = BACKGROUND + OBJECTS + AGENT + 2  # and two that are off


def rollout(rng: np.random.Generator, steps: int = 60) -> tuple[Things, np.ndarray]:
    """Background stands, objects are pushed now and then, the agent walks; all with noise, in random slots."""
    looks = 3 * np.eye(BACKGROUND + OBJECTS + AGENT, 6)
    looks[-1, :2] = 3
    kind = np.repeat([0, 1, 2], [BACKGROUND, OBJECTS, AGENT])
    position = rng.uniform(-0.8, 0.8, (len(kind), 2))
    pushed, far = rng.integers(0, OBJECTS), rng.uniform(5, steps - 10)
    things = []
    for step in range(steps):
        position[-1] += rng.normal(0, 0.08, 2)
        if far < step < far + 8:
            position[BACKGROUND + pushed] += 0.06
        shown_at = np.vstack([position, rng.uniform(-1, 1, (2, 2))]) + rng.normal(0, 0.004, (N, 2))
        shown = np.vstack([looks, rng.normal(0, 2, (2, 6))]) + rng.normal(0, 0.2, (N, 6))
        present = np.arange(N) < len(kind)
        order = rng.permutation(N)
        truth = np.append(kind, [0, 0])[order] == 1
        things.append((shown_at[order], shown[order], present[order], truth & present[order]))
    at, looks, present, truth = (np.stack(x) for x in zip(*things, strict=True))
    return Things(at, looks, present), truth


def test_objects_are_found_without_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train = [rollout(rng)[0] for _ in range(20)]
    found = foreground.fit(ForegroundConfig(), train)
    right = []
    for _ in range(10):
        things, truth = rollout(rng)
        right.append(found(things).present == truth)
    assert np.mean(right) >= 0.97
    (tmp_path / "foreground.json").write_text(found.to_json())
    again = foreground.load(tmp_path / "foreground.json")
    things, _ = rollout(rng)
    np.testing.assert_array_equal(found(things).present, again(things).present)


def test_the_same_seed_gives_the_same_filter() -> None:
    train = [rollout(np.random.default_rng(i))[0] for i in range(5)]
    a, b = (foreground.fit(ForegroundConfig(), train, seed=3) for _ in range(2))
    np.testing.assert_array_equal(a.centres, b.centres)


def test_one_frame_is_judged_like_many() -> None:
    rng = np.random.default_rng(1)
    found = foreground.fit(ForegroundConfig(), [rollout(rng)[0] for _ in range(5)])
    things, _ = rollout(rng)
    for t in range(10):
        single = found(Things(things.position[t], things.features[t], things.present[t]))
        np.testing.assert_array_equal(single.present, found(things).present[t])


def test_what_cannot_be_learnt_from_is_said() -> None:
    rng = np.random.default_rng(2)
    moving, _ = rollout(rng)
    few = Things(moving.position[:5], moving.features[:5], moving.present[:5])
    with pytest.raises(InputError, match="too few"):
        foreground.fit(ForegroundConfig(), [few])
    still = Things(
        np.repeat(moving.position[:1], 60, 0), np.repeat(moving.features[:1], 60, 0), moving.present
    )
    with pytest.raises(InputError, match="no group moves"):
        foreground.fit(ForegroundConfig(groups=3), [still])
    off = Things(moving.position, moving.features, np.zeros_like(moving.present))
    with pytest.raises(InputError, match="only 0 particles"):
        foreground.fit(ForegroundConfig(), [off])
    with pytest.raises(InputError, match="give a still below agent"):
        ForegroundConfig(still=0.9)


def test_a_file_that_is_no_filter(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    for name in ("x.json", "y.json"):
        with pytest.raises(InputError, match="no foreground filter"):
            foreground.load(tmp_path / name)
