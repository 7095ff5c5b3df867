"""Metrics against cases worked out by hand, and against other ways to compute them."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from dlp_dyn import metrics
from dlp_dyn.errors import InputError

ALL = np.array([True, True, True])


def points(*xy: tuple[float, float]) -> np.ndarray:
    return np.array(xy, np.float32).reshape(-1, 2)


def test_each_object_gets_the_particle_next_to_it() -> None:
    m = metrics.match(points((10, 10), (0, 0), (5, 5)), ALL, points((0, 1), (5, 5)), ALL[:2])
    assert m.slot.tolist() == [1, 2]
    assert m.distance.tolist() == [1.0, 0.0]


def test_particles_that_are_off_and_hidden_objects_do_not_take_part() -> None:
    on, visible = np.array([False, True]), np.array([True, False, True])
    m = metrics.match(points((0, 0), (9, 0)), on, points((0, 0), (9, 0), (8, 0)), visible)
    assert m.slot.tolist() == [-1, -1, 1]
    np.testing.assert_array_equal(m.distance, [np.nan, np.nan, 1.0])


def test_nothing_on_or_nothing_visible_matches_nothing() -> None:
    some = points((1, 1), (2, 2), (3, 3))
    for on, visible in ((~ALL, ALL), (ALL, ~ALL)):
        m = metrics.match(some, on, some, visible)
        assert m.slot.tolist() == [-1, -1, -1]
        assert np.isnan(m.distance).all()


def test_two_finds_are_better_than_one_find_and_a_smaller_sum() -> None:
    # The nearest pairing (0 px and 2.1 px) leaves one object beyond 2 px; crossing over finds both (1.9 and 0.2).
    particles, objects = points((0, 0), (2.1, 0)), points((0, 0), (1.9, 0))
    m = metrics.match(particles, ALL[:2], objects, ALL[:2])
    assert (m.distance <= 2).sum() == 2
    far = metrics.match(points((0, 0), (-2.05, 0)), ALL[:2], points((0, 0), (1.9, 0)), ALL[:2])
    assert far.slot.tolist() == [0, 1] or (far.distance <= 2).sum() >= 1
    crossing = metrics.match(points((0.0, 0), (-1.9, 0)), ALL[:2], points((0, 0), (1.9, 0)), ALL[:2])
    assert crossing.slot.tolist() == [1, 0]
    np.testing.assert_allclose(crossing.distance, 1.9, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4))
def test_matching_equals_a_search_through_all_pairings(seed: int, n_particles: int, n_objects: int) -> None:
    rng = np.random.default_rng(seed)
    particles, objects = rng.uniform(0, 6, (n_particles, 2)), rng.uniform(0, 6, (n_objects, 2))
    m = metrics.match(particles, np.ones(n_particles, bool), objects, np.ones(n_objects, bool))
    gaps = np.linalg.norm(objects[:, None] - particles[None], axis=-1)

    def score(pairs: list[tuple[int, int]]) -> tuple[int, float]:
        chosen = np.array([gaps[o, p] for o, p in pairs])
        return -int((chosen <= 2).sum()), float(chosen.sum())

    k = min(n_particles, n_objects)
    best = min(
        score(list(zip(some_objects, some_particles, strict=True)))
        for some_objects in itertools.combinations(range(n_objects), k)
        for some_particles in itertools.permutations(range(n_particles), k)
    )
    ours = score([(o, int(p)) for o, p in enumerate(m.slot) if p >= 0])
    assert ours[0] == best[0]
    assert ours[1] == pytest.approx(best[1])


def test_slot_changes_count_only_where_the_object_was_found_twice() -> None:
    slot = np.array([[0, 1], [0, 2], [3, 2], [-1, 2], [3, 1]])
    distance = np.array([[0.1, 0.1], [0.1, 0.1], [0.1, 5.0], [np.nan, 0.1], [0.1, 0.1]])
    # object 0: kept, changed, then lost; object 1: changed, then not found in frame 2, then changed
    assert metrics.slot_changes(slot, distance) == (3, 4)


def test_psnr_is_20_db_for_an_error_of_a_tenth() -> None:
    target = torch.rand(2, 3, 8, 8) * 0.5
    torch.testing.assert_close(metrics.psnr(target, target + 0.1), torch.full((2,), 20.0), rtol=1e-4, atol=0)


def test_ssim_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    a = rng.uniform(size=(3, 24, 24))
    b = np.clip(a + 0.2 * rng.normal(size=a.shape), 0, 1)

    def blur(x: np.ndarray) -> np.ndarray:
        return np.stack([gaussian_filter(c, 1.5, truncate=3.5, mode="reflect") for c in x])

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    whole = (
        (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    )
    inside = whole[:, 5:-5, 5:-5].mean()  # where the window does not reach past the border
    ours = metrics.ssim(torch.tensor(a[None]).float(), torch.tensor(b[None]).float())
    assert ours.item() == pytest.approx(inside, abs=2e-3)
    same = metrics.ssim(torch.tensor(a[None]).float(), torch.tensor(a[None]).float())
    assert same.item() == pytest.approx(1.0, abs=1e-5)


def test_lpips_without_its_weights_says_what_to_do(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path_factory.mktemp("hub")
    monkeypatch.setenv("TORCH_HOME", str(cache))

    def offline(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(
        InputError, match=r"could not be fetched \(network is unreachable\); leave LPIPS out"
    ) as e:
        metrics.Lpips()
    assert "alexnet-owt-7be5be79.pth" in str(e.value)
    assert "\n" not in str(e.value)
