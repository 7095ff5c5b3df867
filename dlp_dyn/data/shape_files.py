"""Point clouds out of OFF, PLY and NPY files: meshes are sampled on their surface."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from dlp_dyn.errors import InputError

Points = Float[np.ndarray, "n 3"]
Read = Float[np.ndarray, "..."]  # of a file, not looked at yet
_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip


def read_clouds(folder: Path, n_points: int, rng: np.random.Generator) -> Float[np.ndarray, "C n 3"]:
    """One cloud for each file below a folder, in the order of names: centred, and within 0.5 of the origin.

    OFF: points on the surface. PLY: the vertices, NPY: an array (points, 3); where there are more or fewer, some are
    chosen or repeated. Raises InputError for a folder without such files and for what cannot be read.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in _READERS)
    if not files:
        raise InputError(
            f"{folder}: no {', '.join(_READERS)} file in it; give a folder of them, or primitives"
        )
    return np.stack([_fitted(_read(file, n_points, rng)) for file in files]).astype(np.float32)


def _read(file: Path, n: int, rng: np.random.Generator) -> Points:
    try:
        points = _READERS[file.suffix.lower()](file, n, rng)
    except (ValueError, IndexError, KeyError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file}: not readable as {file.suffix[1:].upper()} ({error}); leave it out"
        ) from error
    if points.ndim != 2 or points.shape[1] != 3 or not len(points) or not np.isfinite(points).all():
        raise InputError(f"{file}: shape {points.shape} with finite numbers is no (points, 3); leave it out")
    if len(points) == n:
        return points
    return points[rng.choice(len(points), n, replace=len(points) < n)]


def _fitted(points: Points) -> Points:
    points = points - (points.min(0) + points.max(0)) / 2
    return points / max(2 * np.linalg.norm(points, axis=1).max(), 1e-12)


def _npy(file: Path, n: int, rng: np.random.Generator) -> Read:  # noqa: ARG001 - one signature for all
    return np.asarray(np.load(file, allow_pickle=False), np.float64)


def _off(file: Path, n: int, rng: np.random.Generator) -> Points:
    words = file.read_text().split()
    first = words[0]
    if not first.startswith("OFF"):
        raise ValueError("does not begin with OFF")
    words = ([first[3:]] if len(first) > 3 else []) + words[1:]  # some write OFF and the counts in one word
    n_vertices, n_faces = int(words[0]), int(words[1])
    vertices = np.array(words[3 : 3 + 3 * n_vertices], np.float64).reshape(n_vertices, 3)
    at, triangles = 3 + 3 * n_vertices, []
    for _ in range(n_faces):
        corners = int(words[at])
        face = [int(word) for word in words[at + 1 : at + 1 + corners]]
        triangles += [(face[0], face[i], face[i + 1]) for i in range(1, corners - 1)]
        at += 1 + corners
    return vertices if not triangles else on_surface(vertices, np.array(triangles), n, rng)


def on_surface(
    vertices: Float[np.ndarray, "V 3"], triangles: Int[np.ndarray, "F 3"], n: int, rng: np.random.Generator
) -> Points:
    """Points that are spread evenly over the area of triangles."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    face = rng.choice(len(triangles), n, p=area / area.sum())
    root, share = np.sqrt(rng.random((n, 1))), rng.random((n, 1))
    return (1 - root) * a[face] + root * (1 - share) * b[face] + root * share * c[face]


def _ply(file: Path, n: int, rng: np.random.Generator) -> Points:  # noqa: ARG001 - one signature for all
    header, _, body = file.read_bytes().partition(b"end_header\n")
    lines = [line.split() for line in header.decode("ascii").splitlines()]
    kind = next(line[1] for line in lines if line[:1] == ["format"])
    at = next(i for i, line in enumerate(lines) if line[:2] == ["element", "vertex"])
    if any(line[:1] == ["element"] for line in lines[:at]):
        raise ValueError("vertices are not the first element")
    count, names = int(lines[at][2]), _properties(lines[at + 1 :])
    if kind == "ascii":
        rows = np.array(
            [line.split()[: len(names)] for line in body.decode().splitlines()[:count]], np.float64
        )
        columns = dict(zip((name for name, _ in names), rows.T, strict=True))
    else:
        order = "<" if kind == "binary_little_endian" else ">"
        table = np.frombuffer(body, [(name, order + _PLY_TYPES[type_]) for name, type_ in names], count)
        columns = {name: table[name] for name, _ in names}
    return np.stack([columns[axis] for axis in "xyz"], 1).astype(np.float64)


def _properties(lines: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """Names and types of the first element."""
    found = []
    for line in lines:
        if line[:1] != ["property"]:
            break
        found.append((line[2], line[1]))
    return found


_READERS: dict[str, Callable[[Path, int, np.random.Generator], Read]] = {
    ".off": _off,
    ".ply": _ply,
    ".npy": _npy,
}
