"""Where the figures of a run go beside its own log: TensorBoard's events, trackio, Weights & Biases, by accelerate."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from dlp_dyn.config import Tracker
from dlp_dyn.data.writer import one_line
from dlp_dyn.errors import InputError

PROJECT = "dlp_dyn"


def check(kind: Tracker) -> None:
    """Raise InputError where the tracker's package is not installed."""
    if importlib.util.find_spec(kind) is None:
        raise InputError(
            f"config: log_with={kind}, which is not installed: pip install 'dlp_dyn[{kind}]', "
            "or take log_with=tensorboard"
        )


def begin(kind: Tracker, folder: Path, cfg: dict[str, Any], first_step: int = 0) -> GeneralTracker:
    """A tracker that writes as the run of this folder, going on with it where it was resumed.

    first_step: rows after it are written again. trackio and Weights & Biases are told where to write by their own
    variables (TRACKIO_DIR, WANDB_MODE, ...).
    Raises InputError where the tracker cannot begin, such as without an account.
    """
    check(kind)
    if kind == "tensorboard":
        folder = folder.resolve()
        where: dict[str, Any] = {"run_name": folder.name, "logging_dir": str(folder.parent)}
        where["purge_step"] = first_step + 1 if first_step else None
    else:
        where = {"run_name": PROJECT, "name": folder.name, "config": cfg, "resume": "allow"}
        if kind == "wandb":
            where |= {"id": _identity(folder), "dir": str(folder)}
    tracker = LOGGER_TYPE_TO_CLASS[kind](**where)
    try:
        tracker.start()
    except OSError:
        raise
    except (
        Exception
    ) as error:  # each tracker has its own: no account, no network, a run of that name elsewhere
        raise InputError(
            f"{folder}: {kind} cannot begin ({one_line(error)}); log_with=tensorboard needs none"
        ) from error
    return tracker


def _identity(folder: Path) -> str:
    """The same for all sessions of a run: its name, and when the first one began."""
    session = json.loads((folder / "environment.json").read_bytes())
    first = (session["earlier"] or [session])[-1]
    return f"{folder.name}-{''.join(c for c in first['started'] if c.isdigit())}"
