"""Rollout files cut short or with flipped bits: no process dies, and no frame comes out wrong in silence."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.data_trials.trial import Outcome, Result, numbered
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.writer import Episode, RolloutWriter
from dlp_dyn.errors import InputError

CUTS, FRAME_FLIPS, OTHER_FLIPS = 200, 400, 400
_SIDE = 32
_CODES: dict[int, Outcome] = {0: "right", 3: "refused"}


def write(path: Path) -> None:
    chance = np.random.default_rng(0)
    with RolloutWriter(path, attributes={"env_id": "trial", "fps": 25.0}) as writer:
        for episode in range(4):
            n = 20 + episode
            writer.append(
                Episode(
                    np.stack([numbered(20 * episode + i, _SIDE, _SIDE) for i in range(n)]),
                    actions=chance.normal(size=(n, 3)).astype(np.float32),
                    rewards=chance.normal(size=n).astype(np.float32),
                    terminated=np.arange(n) == n - 2,
                    states={
                        "position": chance.uniform(-1, 1, (n, 2, 2)).astype(np.float32),
                        "masks": chance.integers(0, 3, (n, _SIDE, _SIDE)).astype(np.uint8),
                    },
                )
            )


def everything(path: Path) -> dict[str, np.ndarray]:
    """All that a user of the file can read."""
    rollouts = Rollouts(path)
    columns = {name: rollouts.column(name) for name in rollouts.column_names if name != "frames"}
    return {
        **columns,
        "frames": rollouts.frames(np.arange(rollouts.n_frames)),
        "ends": rollouts.episode_ends,
        "parts": rollouts.episode_parts,
        "attributes": np.array(sorted((k, str(v)) for k, v in rollouts.attributes.items())),
    }


def _outcome(path: Path, whole: dict[str, np.ndarray]) -> tuple[Outcome, str]:
    """In a process of its own, which HDF5 may bring down."""
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        code = 4
        try:
            found = everything(path)
            same = found.keys() == whole.keys() and all(np.array_equal(found[k], whole[k]) for k in whole)
            code = 0 if same else 5
        except InputError as error:
            code = 3 if "\n" not in str(error) else 4
        except BaseException as error:
            print(f"{path.name}: {type(error).__name__} {error}", flush=True)
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return "wrong", f"died of signal {os.WTERMSIG(status)}"
    code = os.WEXITSTATUS(status)
    return _CODES.get(code, "wrong"), {4: "traceback", 5: "other values, nothing is said"}.get(code, "")


def _frame_bytes(path: Path, data: bytes) -> np.ndarray:
    """Which bytes of the file hold frames."""
    frames, held = Rollouts(path), np.zeros(len(data), bool)
    for i in range(frames.n_frames):
        at = data.find(frames.frames(np.array([i])).tobytes())
        held[at : at + 3 * _SIDE * _SIDE] = True
    return held


def trials(place: Path) -> Iterator[Result]:
    source = place / "whole.h5"
    write(source)
    data, whole, chance = source.read_bytes(), everything(source), np.random.default_rng(0)
    held = _frame_bytes(source, data)

    def tried(kind: str, name: str, damaged: bytes | bytearray) -> Result:
        file = place / name
        file.write_bytes(damaged)
        outcome, detail = _outcome(file, whole)
        file.unlink()
        return Result(kind, name, outcome, detail)

    for i, length in enumerate(chance.integers(0, len(data), CUTS)):
        yield tried("cut short", f"cut_{i}.h5", data[:length])
    for kind, places, n in (
        ("flipped bits, in frames", np.flatnonzero(held), FRAME_FLIPS),
        ("flipped bits, elsewhere", np.flatnonzero(~held), OTHER_FLIPS),
    ):
        for i in range(n):
            damaged = bytearray(data)
            for at in chance.choice(places, 1 + i % 3):
                damaged[at] ^= 1 << int(chance.integers(8))
            yield tried(kind, f"flipped_{i}.h5", damaged)
