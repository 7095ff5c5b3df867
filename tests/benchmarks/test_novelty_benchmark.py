"""Pictures of Push in which something is strange."""

import numpy as np
import pytest

from benchmarks.novelty import tables


def pictures(**changes: object) -> tuple[np.ndarray, np.ndarray]:
    return tables(3, 64, np.random.default_rng(0), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"towards_unseen": 0.2}, {"shape": "disc"}, {"shape": "tee"}])
def test_only_the_first_object_differs(changes: dict[str, object]) -> None:
    usual, _ = tables(3, 64, np.random.default_rng(0))
    strange, places = pictures(**changes)
    # A draw of the colour comes between two seeds: the first picture alone has the same beginning.
    changed = np.argwhere((usual[0] != strange[0]).any(-1))
    assert len(changed) > 5
    away = np.abs(changed[:, ::-1] + 0.5 - places[0, 0]).max(1)
    assert away.max() < 12


def test_as_many_objects_as_colours() -> None:
    four, places = pictures(colours=[0, 1, 2, 0])
    assert four.shape == (3, 64, 64, 3)
    assert places.shape == (3, 1, 2)
    red = (four[0] == (230, 50, 50)).all(-1).sum()
    assert red > 1.7 * (pictures(colours=[0, 1, 2])[0][0] == (230, 50, 50)).all(-1).sum()
