"""Where the checkpoint of a run lies: on the disk, with the package, or on the Hugging Face Hub."""

import re
from pathlib import Path
from typing import Any

from dlp_dyn import folders
from dlp_dyn.bundled import MODELS
from dlp_dyn.errors import InputError
from dlp_dyn.sharing.weights import WEIGHTS

CONFIG, METRICS, ENVIRONMENT, CARD = "config.yaml", "metrics.jsonl", "environment.json", "README.md"
_HUB_ID = r"[\w.-]+/[\w.-]+"


def resolve(run: str | Path, **hub: Any) -> Path:
    """The checkpoint folder that a run (its best, else its last), a checkpoint path, a bundled model's name or a Hub id
    stands for.

    hub: arguments of `huggingface_hub.snapshot_download`, such as revision and token. A path of which the first folder
    is here is never asked for on the Hub. Raises InputError when there is no such thing, here or there.
    """
    path = Path(run)
    checkpoints = path / "checkpoints"
    for candidate in (path, *(folders.complete(checkpoints / name) for name in ("best", "last"))):
        if (candidate / WEIGHTS).is_file():
            return candidate
    if path.exists():
        raise InputError(f"{path}: holds no checkpoint; give a run folder or a folder with {WEIGHTS}")
    if str(run) in MODELS:
        return MODELS[str(run)].folder
    if Path(path.parts[0] if path.parts else ".").exists() or not re.fullmatch(_HUB_ID, str(run)):
        others = "" if len(path.parts) > 1 else f", nor a model that comes along ({', '.join(MODELS)})"
        raise InputError(f"{run}: no such run folder or checkpoint{others}")
    return _fetch(str(run), hub)


def _fetch(name: str, hub: dict[str, Any]) -> Path:
    from huggingface_hub import (
        snapshot_download,  # a third of a second to import, and most runs lie on the disk
    )

    try:
        folder = Path(
            snapshot_download(name, allow_patterns=[WEIGHTS, CONFIG, METRICS, ENVIRONMENT, CARD], **hub)
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{name}: no such run folder or checkpoint, nor could a Hugging Face model of that name be fetched "
            f"({reason})"
        ) from error
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{name}: a Hugging Face model without {WEIGHTS}, not one of dlp_dyn; use another")
    return folder
