"""The run folder and what a run writes down: config, environment, metrics, and a tracker's copy of them."""

import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from dlp_dyn import __version__, folders
from dlp_dyn.config import Tracker
from dlp_dyn.errors import InputError, writing
from dlp_dyn.settings import to_dict, to_yaml
from dlp_dyn.sharing import records
from dlp_dyn.sharing.locate import CONFIG
from dlp_dyn.training import trackers

LIBRARIES = (
    "torch", "torchvision", "numpy", "accelerate", "omegaconf", "h5py", "safetensors",
    "gymnasium", "stable-baselines3", "pymunk",
)  # fmt: skip


@contextmanager
def owned(folder: Path, new: bool) -> Iterator[None]:
    """Hold a run folder as its only owner; a new one is made, and gone again when nothing was written into it.

    What a kill left half done in an earlier one is finished or removed. Raises InputError where another process holds
    it, and where something is in the place of a new one.
    """
    if new:
        _make(folder)
    with folders.locked(folder):
        try:
            if new:
                _make(folder)  # another may have begun and ended since
            for part in folder.glob(f".*{folders.PART}"):
                part.unlink()
            for name in ("last", "best"):
                folders.restore(folder / "checkpoints" / name)
            yield
        except BaseException:
            if new and folder.exists() and not _begun(folder):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _make(folder: Path) -> None:
    with writing(folder, "choose another out=FOLDER"):
        if folder.exists() and (not folder.is_dir() or _begun(folder)):
            raise InputError(
                f"{folder}: exists already; resume it, or choose another run folder with out=FOLDER"
            )
        folder.mkdir(parents=True, exist_ok=True)


def _begun(folder: Path) -> bool:
    """Whether there is what somebody would miss: more than the lock, and what a kill in the midst of writing left."""
    checkpoints = folder / "checkpoints"
    left = {folder / folders.LOCK, checkpoints, *folder.glob(f".*{folders.PART}")}
    for part in checkpoints.glob(f"*{folders.PART}"):
        left |= {part, *part.rglob("*")}
    return not left.issuperset(folder.rglob("*"))


def settings(run: Path) -> Path:
    """The config that a run goes on with. Raises InputError for a folder without a `last` checkpoint to go on from.

    Begun anew, a run whose checkpoint is gone would lose its log and its best checkpoint.
    """
    last = folders.complete(run / "checkpoints" / "last")
    if not last.is_dir():
        raise InputError(
            f"{run}: no run folder to go on with (no checkpoints/last in it); start another run with out=FOLDER"
        )
    return run / CONFIG if (run / CONFIG).is_file() else last / CONFIG


class RunLog:
    """Writes into a run folder. Metrics are flushed as they come: a killed run loses none.

    first_step: steps after it were cut off by a kill and will be done again; their rows are taken out.
    log_with: what shows them beside (see `trackers`).
    """

    def __init__(
        self,
        folder: Path,
        cfg: object,
        device: torch.device,
        first_step: int = 0,
        log_with: Tracker = "tensorboard",
    ) -> None:
        self.folder, self._log_with = folder, log_with
        self._metrics = folder / "metrics.jsonl"
        folders.write_file(folder / CONFIG, to_yaml(cfg).encode())
        _add_environment(folder / "environment.json", device, first_step)
        if self._metrics.exists():
            kept = [line for line, step in records.rows(self._metrics) if step <= first_step]
            folders.write_file(self._metrics, b"".join(kept))
        self._place = _identity(folder)
        self._tracker = trackers.begin(log_with, folder, to_dict(cfg), first_step)

    def check_place(self) -> None:
        """InputError where the folder was moved or removed: what is written next would be torn from the run."""
        if _identity(self.folder) != self._place:
            raise InputError(
                f"{self.folder}: was moved or removed while it was written; resume it where it is now"
            )

    def write(self, step: int, group: str, metrics: Mapping[str, float]) -> None:
        """One row, its names as `group/name`."""
        row = {f"{group}/{name}": value for name, value in metrics.items()}
        try:
            with self._metrics.open("a") as stream:
                stream.write(json.dumps({"step": step, **row}) + "\n")
            self._tracker.log(row, step)
        except OSError as error:
            self.check_place()
            raise InputError(
                f"{self._metrics}: cannot be written ({error.strerror}); make room, then resume the run"
            ) from error

    def __enter__(self) -> "RunLog":
        self._hook, threading.excepthook = threading.excepthook, self._thread_failed
        return self

    def _thread_failed(self, args: threading.ExceptHookArgs) -> None:
        """Nothing of TensorBoard's thread: `write` or `close` raises the same error, and tells it in a line."""
        if not type(args.thread).__module__.startswith("tensorboard."):
            self._hook(args)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._tracker.finish()
        except OSError as failure:
            if error is None:
                raise InputError(
                    f"{self.folder}: what {self._log_with} shows cannot be written ({failure.strerror}); the rest of "
                    "the run is complete"
                ) from failure
        finally:
            threading.excepthook = self._hook


def summary(row: Mapping[str, float]) -> str:
    """The losses and metrics of a row of training, for the progress line."""
    losses = "  ".join(f"{name} {value:.5g}" for name, value in row.items() if name.split("_")[0] == "loss")
    shown = [
        f"{name.removeprefix('metric/')} {value:.4g}" for name, value in row.items() if "metric/" in name
    ]
    return f"{losses}  {', '.join(shown)}"


class Meter:
    """Means of metrics over the steps since the last flush, kept on the device until then.

    waited: seconds in which there was no clip to train on; the caller adds them up.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums = torch.zeros(0)
        self._steps = self._batches = 0
        self._steps_from = time.perf_counter()
        self.waited = 0.0

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Time spent inside does not count for the rate."""
        begun = time.perf_counter()
        yield
        self._steps_from += time.perf_counter() - begun

    def add(self, metrics: Mapping[str, Tensor], batches: int = 1) -> None:
        """Scalars of a step, always under the same names, and how many batches it took."""
        values = torch.stack(list(metrics.values())).detach().float()
        self._sums = values if self._steps == 0 else self._sums + values
        self._names = list(metrics)
        self._steps += 1
        self._batches += batches

    def flush(self, accelerator: Accelerator) -> dict[str, float]:
        """Means over steps and processes, with the rate and the share of time that went into waiting for data."""
        values = accelerator.reduce(self._sums / self._steps, "mean")
        assert isinstance(values, Tensor)
        figures = dict(zip(self._names, values.tolist(), strict=True))
        now = time.perf_counter()
        seconds = now - self._steps_from
        figures["batches_per_second"] = self._batches / seconds
        figures["waiting_for_data"] = self.waited / seconds
        self._steps = self._batches = 0
        self._steps_from, self.waited = now, 0.0
        return figures


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _add_environment(file: Path, device: torch.device, first_step: int) -> None:
    """The newest session on top, earlier ones of a resumed run below."""
    earlier: list[dict[str, Any]] = []
    if file.exists() and (last := records.session(file)) is not None:
        earlier = [*last.pop("earlier", []), last]
    cuda = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    session = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "first_step": first_step,
        "command": sys.argv,
        "device": str(device),
        "gpu": cuda,
        "cuda": torch.version.cuda if cuda else None,
        "cpu": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {"dlp_dyn": __version__} | {name: _version(name) for name in LIBRARIES},
        "git_commit": _git_commit(),
        "earlier": earlier,
    }
    folders.write_file(file, (json.dumps(session, indent=2) + "\n").encode())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Commit of the source in use, with a + where files differ from it; None outside a clone."""
    source = Path(__file__).parents[1]
    if not (source / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(source), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
