"""Imports point one way (docs: the file map): lower rooms know nothing of higher ones."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dlp_dyn"

# From the ground up. A module imports from its own row or those above it; the rooms of one row do not know each other,
# but a room's modules know one another.
FLOORS = (
    {"errors", "clip", "particles", "tree", "geometry", "nn"}
    | {"bundled", "progress", "folders", "settings"},
    {"sharing"},
    {"image", "dynamics", "data", "soft_intro"},
    {"tracking"},
    {"video", "metrics"},
    {"generation"},
    {"objectives"},
    {"config", "checkpoint"},
    set(),  # everything that is not named here: evaluation, predict, plotting, official, ...
    {"training"},
    {"commands"},
    {"cli"},
)
USES_OF_MODELS = FLOORS.index(set())
SEPARATE_ROOMS = {"image", "dynamics", "data", "soft_intro"}
FOREIGN = {"stable_baselines3", "agents", "envs", "benchmarks", "tests", "pymunk", "minari"}
OF_A_ROOM = {"starlette": "viewer", "uvicorn": "viewer", "triton": "geometry"}  # nobody else may need them
LAZY = {"minari"}  # may be imported inside a function, where it is needed


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path, top_level: bool = False) -> Iterator[str]:
    """Absolute names of all that a file imports."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def floor(name: str) -> int:
    return next((i for i, rooms in enumerate(FLOORS) if name in rooms), USES_OF_MODELS)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    mine = room(path.relative_to(PACKAGE).parts)
    for name in imports(path):
        parts = tuple(name.split("."))
        if parts[0] != "dlp_dyn" or mine == "__init__":
            continue
        other = room(parts[1:])
        if other == mine or not ((PACKAGE / f"{other}.py").exists() or (PACKAGE / other).is_dir()):
            continue  # the same room, or a name of dlp_dyn/__init__.py
        assert floor(other) <= floor(mine), f"{mine} imports {other}, which is above it"
        assert not {mine, other} <= SEPARATE_ROOMS, f"{mine} imports {other}: rooms of one floor"


def test_no_files_import_each_other_in_a_circle() -> None:
    root = PACKAGE.parent
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in (PACKAGE, root / "agents", root / "envs")
        for path in package.rglob("*.py")
    }
    graph = {
        name: set[str]() for name in files if name != "dlp_dyn"
    }  # which is lazy: it knows all and needs none
    for name in graph:
        for used in imports(files[name]):
            file = used if used in files else used.rpartition(".")[0]
            graph[name] |= {file} & graph.keys() - {name}
    TopologicalSorter(graph).prepare()  # raises CycleError, which tells the circle


def test_every_named_room_is_there() -> None:
    names = {path.stem for path in PACKAGE.glob("*.py")} | {path.name for path in PACKAGE.iterdir()}
    assert set().union(*FLOORS) <= names


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_library_needs_no_agents_and_no_extras(path: Path) -> None:
    everywhere = {name.split(".")[0] for name in imports(path)}
    assert not everywhere & (FOREIGN - LAZY)
    assert not {name.split(".")[0] for name in imports(path, top_level=True)} & FOREIGN


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_some_libraries_are_of_one_room(path: Path) -> None:
    mine = room(path.relative_to(PACKAGE).parts)
    used = {name.split(".")[0] for name in imports(path)}
    assert all(OF_A_ROOM.get(name, mine) == mine for name in used)


def test_few_files_lie_loose_at_the_root() -> None:
    old_names = {"plots.py"}  # goes with 0.3
    assert len({file.name for file in PACKAGE.glob("*.py")} - old_names) <= 15
