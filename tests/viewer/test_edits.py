"""What every edit does to the scene and to the frames before it, in numbers."""

import pytest
import torch
from histories import history
from torch.testing import assert_close

from dlp_dyn import geometry
from dlp_dyn.errors import InputError
from dlp_dyn.particles import Scene
from dlp_dyn.viewer import edits


def others_unchanged(before: Scene, after: Scene, i: int) -> None:
    for old, new in zip(before.particles, after.particles, strict=True):
        rest = [j for j in range(old.shape[1]) if j != i]
        assert torch.equal(old[:, rest], new[:, rest])
    assert torch.equal(before.background, after.background)


def test_attributes_are_those_of_the_last_frame() -> None:
    values = edits.attributes(history(), 2)
    assert values["x"] == pytest.approx(0.2)
    assert values["y"] == pytest.approx(-0.2)
    assert values["motion_x"] == pytest.approx(0.05)
    assert values["motion_y"] == 0
    assert values["width"] == pytest.approx(torch.tensor(-1.0).sigmoid().item())
    assert values["depth"] == 2
    assert values["transparency"] == 1
    assert (values["feature_0"], values["feature_1"]) == (20, 21)
    assert edits.attributes(history(t=1), 2)["motion_x"] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("x", -0.6), ("y", 1.1), ("width", 0.5), ("height", 0.1), ("motion_x", -0.1), ("motion_y", 0.2),
     ("depth", -3.0), ("transparency", 0.25), ("feature_0", 1.5), ("feature_1", -2.0)],
)  # fmt: skip
def test_change_sets_one_attribute_and_nothing_else(name: str, value: float) -> None:
    before = history()
    kept = before.map(torch.clone)
    after = edits.change(before, 1, {name: value})
    expected = edits.attributes(before, 1) | {name: value}
    assert edits.attributes(after, 1) == pytest.approx(expected, abs=1e-6)
    others_unchanged(before, after, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, kept, strict=True)), "the history given was changed"


def test_a_moved_particle_keeps_its_velocity_in_all_frames() -> None:
    before = history(t=5)
    after = edits.change(before, 0, {"x": 0.7, "y": 0.3})
    moved = after.particles.position[:, 0] - before.particles.position[:, 0]
    assert_close(moved, torch.tensor([0.7, 0.5]).expand(5, 2))


def test_motion_bends_the_path_and_not_where_it_ends() -> None:
    after = edits.change(history(t=4), 0, {"motion_x": -0.1, "motion_y": 0.2})
    back = torch.tensor([-3.0, -2.0, -1.0, 0.0])[:, None]
    assert_close(after.particles.position[:, 0], torch.tensor([0.0, -0.2]) + back * torch.tensor([-0.1, 0.2]))


def test_hidden_in_all_frames_and_shown_again_with_its_path() -> None:
    before = history()
    hidden = edits.hide(before, 1)
    assert hidden.particles.transparency[:, 1].eq(0).all()
    others_unchanged(before, hidden, 1)
    shown = edits.show(hidden, 1, before)
    assert shown.particles.transparency[:, 1].eq(1).all()
    assert torch.equal(shown.particles.position, before.particles.position)


def test_a_particle_that_was_never_on_rests_when_it_is_shown() -> None:
    found = edits.hide(history(), 1)
    shown = edits.show(found, 1, found)
    assert edits.attributes(shown, 1)["motion_x"] == 0
    assert edits.attributes(shown, 1)["x"] == pytest.approx(0.1)


def test_swap_looks_moves_features_only() -> None:
    before = history()
    after = edits.swap_appearance(before, 0, 2)
    assert after.particles.features[:, 0].tolist() == [[20, 21]] * 3
    assert after.particles.features[:, 2].tolist() == [[0, 1]] * 3
    assert torch.equal(after.particles.features[:, 1], before.particles.features[:, 1])
    assert torch.equal(after.particles.position, before.particles.position)


def test_copy_adds_a_particle_beside_the_first_with_its_looks_and_velocity() -> None:
    before = history()
    after, slot = edits.copy(before, 1, room_for_more=True)
    assert slot == 3
    assert edits.n_particles(after) == 4
    one, other = edits.attributes(before, 1), edits.attributes(after, 3)
    assert other["x"] == pytest.approx(one["x"] - 0.3)
    assert other["y"] == pytest.approx(one["y"] + 0.3)
    same = one.keys() - {"x", "y"}
    assert {name: other[name] for name in same} == pytest.approx({name: one[name] for name in same}, abs=1e-6)
    others_unchanged(before, after, 3)


def test_copy_takes_the_place_of_one_that_is_off_where_there_is_no_room() -> None:
    off = edits.hide(history(), 0)
    after, slot = edits.copy(off, 2, room_for_more=False)
    assert slot == 0
    assert edits.n_particles(after) == 3
    assert edits.attributes(after, 0)["feature_0"] == 20
    others_unchanged(off, after, 0)
    with pytest.raises(InputError, match="all 3 particles of this model are in use"):
        edits.copy(history(), 2, room_for_more=False)
    with pytest.raises(InputError, match="particle 0 is off: show it"):
        edits.copy(off, 0, room_for_more=True)


def centre_colour(scene: Scene) -> torch.Tensor:
    """What is drawn where three opaque particles lie on each other: channel i is the share of particle i."""
    glimpses = torch.ones(1, 3, 4, 4, 4)
    glimpses[:, :, :3] = torch.eye(3)[None, :, :, None, None]
    p = scene[-1:].particles
    here = torch.zeros_like(p.position)
    image, _ = geometry.composite(glimpses, here, p.size, p.transparency, p.depth, 9)
    return image[0, :, 4, 4]


@pytest.mark.parametrize("i", [0, 1, 2])
def test_forward_covers_the_others_and_back_is_covered_by_them(i: int) -> None:
    before = history()
    front, behind = edits.bring_forward(before, i), edits.send_back(before, i)
    assert centre_colour(front)[i] > 0.8
    assert centre_colour(behind)[i] < 0.1
    depth = front.particles.depth[-1, :, 0]
    rest = [j for j in range(3) if j != i]
    farther = depth[rest] - before.particles.depth[-1, rest, 0]
    assert_close(farther[0], farther[1], msg="the order among the others is kept")


def test_a_lone_particle_is_in_front_already() -> None:
    alone = edits.hide(edits.hide(history(), 0), 1)
    assert edits.bring_forward(alone, 2) is alone
    assert edits.send_back(alone, 2) is alone


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"weight": 1.0}, "attribute 'weight': a particle has x, y, width"),
        ({"x": 2.5}, "x 2.5: give a number from -2 to 2"),
        ({"width": 0.0}, "width 0: give a number from 0.02 to 0.98"),
        ({"transparency": 1.5}, "transparency 1.5: give a number from 0 to 1"),
        ({"depth": float("nan")}, "depth nan: give a number from -9 to 9"),
        ({"feature_7": 0.0}, "attribute 'feature_7'"),
    ],
)
def test_bad_values_are_refused(values: dict[str, float], line: str) -> None:
    with pytest.raises(InputError, match=line):
        edits.change(history(), 0, values)
