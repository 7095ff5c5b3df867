"""Point clouds: primitives lie on their surfaces, and files are read as they were written."""

import struct
from pathlib import Path

import numpy as np
import pytest

from dlp_dyn.data import primitives
from dlp_dyn.data.shape_files import on_surface, read_clouds
from dlp_dyn.errors import InputError

RNG = np.random.default_rng(0)
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
SIDES = [(0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4), (2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)]


def off(path: Path, head: str = "OFF\n") -> Path:
    lines = [f"{len(CORNERS)} {len(SIDES)} 0", *(" ".join(map(str, p)) for p in CORNERS)]
    lines += [f"{len(side)} " + " ".join(map(str, side)) for side in SIDES]
    path.write_text(head + "\n".join(lines) + "\n")
    return path


def ply(path: Path, points: np.ndarray, kind: str) -> Path:
    head = f"ply\nformat {kind} 1.0\ncomment a cube\nelement vertex {len(points)}\n"
    head += "property float x\nproperty float y\nproperty float z\nproperty uchar red\nend_header\n"
    if kind == "ascii":
        body = "".join(f"{x} {y} {z} 7\n" for x, y, z in points).encode()
    else:
        order = "<" if kind == "binary_little_endian" else ">"
        body = b"".join(struct.pack(f"{order}fffB", *p, 7) for p in points)
    path.write_bytes(head.encode() + body)
    return path


def test_primitives_fill_their_ball() -> None:
    clouds = primitives.clouds(40, 200, RNG)
    radius = np.linalg.norm(clouds, axis=-1).max(1)
    assert clouds.shape == (40, 200, 3)
    assert ((radius >= 0.35 - 1e-6) & (radius <= 0.5 + 1e-6)).all()


def test_spheres_are_round_and_boxes_flat() -> None:
    sphere, box = primitives.clouds(2, 4000, RNG)
    radius = np.linalg.norm(sphere, axis=1)
    assert np.ptp(radius) < 1e-6
    upright = np.abs(box[:, 2])  # the vertical axis is not turned: lids are the points of the largest height
    assert (upright > upright.max() - 1e-6).mean() > 0.1


def test_points_spread_evenly_over_area() -> None:
    """Two triangles, one of thrice the area of the other."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [10, 0, 0], [13, 0, 0], [10, 1, 0]], float)
    points = on_surface(vertices, np.array([[0, 1, 2], [3, 4, 5]]), 20_000, RNG)
    assert (points[:, 0] > 5).mean() == pytest.approx(0.75, abs=0.02)
    near = points[points[:, 0] < 5]
    assert (near[:, 0] + near[:, 1] <= 1 + 1e-9).all()
    np.testing.assert_allclose(near.mean(0), [1 / 3, 1 / 3, 0], atol=0.02)


@pytest.mark.parametrize("head", ["OFF\n", "OFF"])
def test_meshes_are_sampled_on_their_surface(tmp_path: Path, head: str) -> None:
    off(tmp_path / "cube.off", head)
    (cloud,) = read_clouds(tmp_path, 500, RNG)
    assert cloud.shape == (500, 3)
    half = 0.5 / np.sqrt(3)  # a cube whose corners are 0.5 from its centre
    assert np.abs(cloud).max(1) == pytest.approx(np.full(500, half), rel=0.05)


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_vertices_of_ply_and_arrays_are_kept(tmp_path: Path, kind: str) -> None:
    ply(tmp_path / "a.ply", CORNERS, kind)
    np.save(tmp_path / "b.npy", 3 * CORNERS + 1)  # centred and fitted, it is the same
    a, b = read_clouds(tmp_path, len(CORNERS), RNG)
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.off", b"PLY\n1 2 3", "not readable as OFF"),
        ("a.off", b"OFF\n9 1 0\n0 0 0", "not readable as OFF"),
        (
            "a.ply",
            b"ply\nformat ascii 1.0\nelement face 2\nelement vertex 1\nend_header\n",
            "not readable as PLY",
        ),
        ("a.npy", b"nothing", "not readable as NPY"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: {told}.*leave it out"):
        read_clouds(tmp_path, 8, RNG)


def test_arrays_have_to_be_points(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 2)))
    with pytest.raises(InputError, match=r"is no \(points, 3\)"):
        read_clouds(tmp_path, 8, RNG)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.off, \.ply, \.npy file in it"):
        read_clouds(tmp_path / "empty", 8, RNG)
