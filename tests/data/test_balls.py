import numpy as np
import pytest

from dlp_dyn.data.balls import (
    BallsConfig,
    draw_colours,
    initial_state,
    render,
    simulate,
    step,
    to_pixels,
    to_position,
    write_balls,
)
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError


def energy(velocity):
    return (velocity**2).sum((-1, -2))


def slow_step(position, velocity, radius, side):
    """One frame of one scene, ball by ball in plain Python, from the description."""
    p, v = [list(x) for x in position], [list(x) for x in velocity]
    for _ in range(10):
        for b in range(len(p)):
            for axis in range(2):
                there = p[b][axis] + 0.1 * v[b][axis]
                if there - radius < 0:
                    v[b][axis] = abs(v[b][axis])
                if there + radius > side:
                    v[b][axis] = -abs(v[b][axis])
        there = [[p[b][axis] + 0.1 * v[b][axis] for axis in range(2)] for b in range(len(p))]
        for i in range(len(p)):
            for j in range(i):
                dx, dy = there[i][0] - there[j][0], there[i][1] - there[j][1]
                distance = (dx * dx + dy * dy) ** 0.5
                if distance < 2 * radius:
                    nx, ny = dx / distance, dy / distance
                    along_i, along_j = (v[b][0] * nx + v[b][1] * ny for b in (i, j))
                    for b, change in ((i, along_j - along_i), (j, along_i - along_j)):
                        v[b] = [v[b][0] + change * nx, v[b][1] + change * ny]
        p = [[p[b][axis] + 0.1 * v[b][axis] for axis in range(2)] for b in range(len(p))]
    return np.array(p), np.array(v)


@pytest.mark.parametrize("mode", ["interaction", "occlusion"])
def test_energy_is_conserved_and_walls_hold(mode):
    position, velocity = simulate(np.random.default_rng(0), 50, 100, BallsConfig(mode=mode))
    np.testing.assert_allclose(energy(velocity), 3 * 3.0**2, rtol=1e-9)
    assert position.min() > 8 - 0.6
    assert position.max() < 56 + 0.6


def test_single_ball_bounces_between_the_walls():
    cfg = BallsConfig(n_balls=1)
    position, velocity = simulate(np.random.default_rng(1), 200, 100, cfg)
    assert position.min() >= 8
    assert position.max() <= 56
    np.testing.assert_allclose(abs(velocity), abs(velocity[:, :1]).repeat(100, 1))


def test_wall_turns_one_component_only():
    cfg = BallsConfig(n_balls=1)
    position, velocity = step(np.array([[[9.0, 30.0]]]), np.array([[[-3.0, 2.0]]]), cfg)
    np.testing.assert_allclose(velocity, [[[3.0, 2.0]]])
    # Three sub-steps fit before the wall at 8, seven lead back.
    np.testing.assert_allclose(position, [[[9 - 0.9 + 2.1, 32.0]]])


def test_head_on_balls_exchange_velocities():
    cfg = BallsConfig(n_balls=2)
    state = np.array([[[20.0, 32.0], [44.0, 32.0]]]), np.array([[[3.0, 0.0], [-2.0, 0.0]]])
    before = state[1]
    for _ in range(3):
        state = step(*state, cfg)
    np.testing.assert_allclose(state[1], before[:, ::-1], atol=1e-12)


def test_oblique_hit_keeps_momentum_and_the_tangent():
    cfg = BallsConfig(n_balls=2)
    centres, before = np.array([[[30.0, 30.0], [40.0, 42.4]]]), np.array([[[2.0, 1.0], [-1.0, -2.0]]])
    _, after = step(centres, before, cfg)
    np.testing.assert_allclose(after.sum(1), before.sum(1), atol=1e-12)
    change = after[0, 0] - before[0, 0]
    assert np.linalg.norm(change) > 1
    line = centres[0, 1] - centres[0, 0]
    assert abs(change @ [line[1], -line[0]]) / np.linalg.norm(change) / np.linalg.norm(line) < 0.02


def test_agrees_with_a_plain_reading_of_the_rules():
    cfg = BallsConfig(n_balls=4, radius=7)
    position, velocity = simulate(np.random.default_rng(3), 3, 25, cfg)
    for episode in range(3):
        state = position[episode, 0], velocity[episode, 0]
        for t in range(1, 25):
            state = slow_step(*state, 7, 64)
            np.testing.assert_allclose(position[episode, t], state[0], atol=1e-6)
            np.testing.assert_allclose(velocity[episode, t], state[1], atol=1e-6)


@pytest.mark.parametrize(("n_balls", "radius"), [(3, 8), (6, 8), (16, 5)])
def test_no_overlap_at_the_start(n_balls, radius):
    cfg = BallsConfig(n_balls=n_balls, radius=radius)
    position, velocity = initial_state(np.random.default_rng(0), 200, cfg)
    distance = np.linalg.norm(position[:, :, None] - position[:, None], axis=-1)
    assert distance[:, ~np.eye(n_balls, dtype=bool)].min() >= 2 * radius
    assert position.min() >= radius
    assert position.max() <= 64 - radius
    np.testing.assert_allclose(np.linalg.norm(velocity, axis=-1), 3)


def test_too_many_balls_is_one_line():
    with pytest.raises(InputError, match="do not fit") as error:
        initial_state(np.random.default_rng(0), 1, BallsConfig(n_balls=16, radius=12))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="colours"):
        BallsConfig(n_balls=6, mode="occlusion")


def test_occlusion_colours_differ():
    colours = draw_colours(np.random.default_rng(0), 50, BallsConfig(n_balls=5, mode="occlusion"))
    assert all(len(np.unique(scene, axis=0)) == 5 for scene in colours)


@pytest.mark.parametrize("radius", [2.0, 5.0, 8.0])
def test_centre_of_mass_and_area_of_a_drawn_ball(radius):
    centres = np.random.default_rng(0).uniform(radius + 1, 63 - radius, (100, 1, 2))
    frames, shares = render(centres, np.ones((100, 1, 3)), radius, 64)
    mass = frames[..., 0] / 255
    pixels = np.arange(64) + 0.5
    total = mass.sum((1, 2))
    found = np.stack([(mass * pixels).sum((1, 2)), (mass * pixels[:, None]).sum((1, 2))], -1) / total[:, None]
    np.testing.assert_allclose(found, centres[:, 0], atol=0.05)
    np.testing.assert_allclose(total, np.pi * radius**2, atol=1)
    np.testing.assert_allclose(shares, 1, atol=1e-5)
    # The stated convention: -1 and 1 are the centres of the first and last pixel.
    np.testing.assert_allclose(to_position(np.array([0.5, 63.5]), 64), [-1, 1])
    np.testing.assert_allclose(to_pixels(to_position(centres, 64), 64), centres)


def test_later_ball_is_in_front_and_hides():
    red_blue = np.array([[[1.0, 0, 0], [0, 0, 1]]])
    frames, shares = render(np.full((1, 2, 2), 32.0), red_blue, 8, 64)
    assert frames[0, 32, 32].tolist() == [0, 0, 255]
    assert shares[0, 0] < 0.1
    assert shares[0, 1] == pytest.approx(1)


def test_ball_outside_leaves_no_trace():
    centres = np.array([[[-30.0, 20.0]], [[64.0, 200.0]], [[0.0, 0.0]]])
    frames, _ = render(centres, np.ones((3, 1, 3)), 8, 64)
    assert not frames[:2].any()
    assert frames[2].sum() == pytest.approx(255 * 3 * np.pi * 64 / 4, rel=0.05)


def test_file_holds_the_truth_and_depends_on_the_seed(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_balls(tmp_path / name, (2, 1, 1), length=8, n_balls=1, image_size=32, radius=4, seed=seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c
    rollouts = Rollouts(tmp_path / "a")
    assert rollouts.episode_parts.tolist() == [0, 0, 1, 2]
    episode = rollouts.episode(3)
    states = episode.states
    assert states is not None
    mass = episode.frames.sum(-1, dtype=float)
    x = (mass * np.linspace(-1, 1, 32)).sum((1, 2)) / mass.sum((1, 2))
    np.testing.assert_allclose(states["position"][:, 0, 0], x, atol=2 * 0.05 / 31)
    np.testing.assert_allclose(states["size"], 8 / 32)
    assert states["visible"].all()
    # The stored velocity and position start a simulator that gives the next frame.
    cfg = BallsConfig(n_balls=1, image_size=32, radius=4)
    position, _ = step(to_pixels(states["position"][:-1], 32), states["velocity"][:-1] * 31 / 2, cfg)
    np.testing.assert_allclose(to_position(position, 32), states["position"][1:], atol=1e-5)
