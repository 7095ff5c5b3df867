"""Faults of saving at random moments: kills, full disks and damaged files.

Right is: what was saved before is there and consistent, or one line (InputError) says what is not.
"""

import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dlp_dyn import checkpoint
from dlp_dyn.config import load
from dlp_dyn.errors import InputError
from dlp_dyn.sharing.locate import resolve
from dlp_dyn.training.run_log import RunLog

_WIDENED_S = 0.004  # how long a folder stays as it is around each renaming


def _weights(step: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2_000,), float(step))}


def _save(run: Path, step: int) -> None:
    checkpoint.save(run / "checkpoints" / "last", _weights(step), f"step: {step}\n", {"step": step})


def _consistent(run: Path) -> int | None:
    """The step of the checkpoint that a reader finds; None where its files are of several, or damaged."""
    folder = resolve(run)
    step = checkpoint.load_training_state(folder)["step"]
    same = (checkpoint.load_weights(folder)["weight"] == step).all()
    return step if same and (folder / "config.yaml").read_text() == f"step: {step}\n" else None


def widen_renames() -> None:
    """From here on in this process a folder stays for a moment as it is before and after each renaming."""
    rename = Path.rename

    def widened(path: Path, target: Path) -> Path:
        time.sleep(_WIDENED_S)
        renamed = rename(path, target)
        time.sleep(_WIDENED_S)
        return renamed

    Path.rename = widened  # type: ignore[method-assign]


def killed(place: Path, chance: random.Random) -> bool:
    """A process that saves again and again, killed; half of the moments lie around a renaming."""
    _save(place, 0)
    child = os.fork()
    if child == 0:
        widen_renames()
        for step in range(1, 1_000_000):
            _save(place, step)
    time.sleep(chance.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if _consistent(place) is None:
        return False
    _save(place, -1)  # the next owner goes on
    return _consistent(place) == -1


def full_disk(
    place: Path, chance: random.Random, write: Callable[[Path], None], kept: Callable[[], object]
) -> bool:
    """A write that fails after so many bytes leaves what was there, and says so in a line."""
    before = kept()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    earlier = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (chance.randrange(12_000), hard))
    try:
        write(place)
        return True  # there was room
    except InputError:
        return kept() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, earlier)


def full_disk_checkpoint(place: Path, chance: random.Random) -> bool:
    _save(place, 0)
    return full_disk(place, chance, lambda run: _save(run, 1), lambda: _consistent(place))


def full_disk_run_files(place: Path, chance: random.Random) -> bool:
    """config.yaml, environment.json and metrics.jsonl, as `--resume` writes them."""
    cfg, cpu = load("tiny", ["data.path=x"]), torch.device("cpu")
    files = [place / name for name in ("config.yaml", "environment.json", "metrics.jsonl")]
    with RunLog(place, cfg, cpu) as log:
        log.write(1, "train", {"loss": 1.0})

    def begin(run: Path) -> None:
        RunLog(run, cfg, cpu, first_step=1)

    return full_disk(place, chance, begin, lambda: [file.read_bytes() for file in files])


def _damaged(data: bytes, chance: random.Random) -> bytes:
    kind, at = chance.randrange(4), chance.randrange(len(data))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return chance.randbytes(chance.randrange(1, 200))
    if kind == 2:
        return data[:at] + bytes(len(data) - at)
    return data[:at] + chance.randbytes(8) + data[at + 8 :]


def damaged_checkpoint(place: Path, chance: random.Random) -> bool:
    """Cut, noise, zeros, or eight other bytes in a file: it is read, or refused in one line."""
    _save(place, 0)
    file = place / "checkpoints" / "last" / chance.choice([checkpoint.TRAINING_STATE, checkpoint.WEIGHTS])
    file.write_bytes(_damaged(file.read_bytes(), chance))
    try:
        checkpoint.load_training_state(file.parent)
        checkpoint.load_weights(file.parent)
    except InputError as error:
        return "\n" not in str(error)
    return True


def damaged_log(place: Path, chance: random.Random) -> bool:
    """A log with a damaged piece does not stop a resume, which keeps every row that is whole."""
    rows = [b'{"step": %d, "train/loss": 1.0}\n' % step for step in range(1, 6)]
    (place / "metrics.jsonl").write_bytes(b"".join(rows) + _damaged(rows[0], chance) + b"\n")
    with RunLog(place, load("tiny", ["data.path=x"]), torch.device("cpu"), first_step=5):
        pass
    return (place / "metrics.jsonl").read_bytes().startswith(b"".join(rows))


KINDS = {
    "killed while it saves": (killed, 0.3),
    "full disk, checkpoint": (full_disk_checkpoint, 1.0),
    "full disk, config, environment, log": (full_disk_run_files, 0.5),
    "damaged checkpoint": (damaged_checkpoint, 1.0),
    "damaged log": (damaged_log, 0.25),
}


def tried(kind: Callable[[Path, random.Random], bool], seed: int) -> bool:
    """Whether a try in a folder of its own was right; a traceback is not."""
    place = Path(tempfile.mkdtemp())
    try:
        return kind(place, random.Random(seed))
    except Exception:  # what a fault raises is what is measured here
        return False
    finally:
        shutil.rmtree(place, ignore_errors=True)
