"""Checkpoints: a folder with weights and config rebuilds its model alone, a third file lets training go on.

RUN/checkpoints/{last,best}/model.safetensors     weights to use (averaged ones where training averages)
                            config.yaml           the run's config
                            training_state.pt     optimiser, random generators, step: of `last`
                            score.json            on held-out data: of `best`

Everywhere, a Hub id stands for a run too (see `locate.resolve`).
"""

import hashlib
import io
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from dlp_dyn import folders
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.errors import reading
from dlp_dyn.image.model import DLP
from dlp_dyn.settings import has_section, parse_json, read_section, read_yaml
from dlp_dyn.sharing.locate import CONFIG, resolve
from dlp_dyn.sharing.weights import WEIGHTS, load_weights, to_bytes
from dlp_dyn.video import VideoModel

TRAINING_STATE, SCORE = "training_state.pt", "score.json"


def save(
    folder: Path,
    weights: dict[str, Tensor],
    config_yaml: str,
    training_state: dict[str, Any] | None = None,
    score: float | None = None,
) -> None:
    """Write a checkpoint folder in place of an earlier one of the same name.

    Everything is written beside it and swapped in when complete: a kill or a full disk leaves the earlier
    checkpoint as it was. Raises InputError when writing fails.
    """
    contents: dict[str, bytes] = {WEIGHTS: to_bytes(weights), CONFIG: config_yaml.encode()}
    if score is not None:
        contents[SCORE] = json.dumps(score).encode()
    if training_state is not None:
        buffer = io.BytesIO()
        torch.save(training_state, buffer)
        contents[TRAINING_STATE] = buffer.getvalue()
    folders.write(folder, contents)


def load_score(folder: Path) -> float:
    """What a checkpoint scored on held-out data; minus infinity where it does not say."""
    try:
        return float(parse_json((folder / SCORE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return float("-inf")


def load(run: str | Path, device: torch.device | str = "cpu") -> DLP | VideoModel:
    """The model of a run or of a Hub id, in eval mode: a video model where there are dynamics, else an image model.

    Raises InputError for what is neither.
    """
    return load_video_model(run, device) if has_dynamics(run) else load_model(run, device)


def load_model(run: str | Path, device: torch.device | str = "cpu") -> DLP:
    """The image model of a run (its best checkpoint, else its last), in eval mode."""
    return DLP.from_pretrained(run, device=device)


def load_video_model(run: str | Path, device: torch.device | str = "cpu") -> VideoModel:
    """The video model of a run, in eval mode. Raises InputError for a run without dynamics."""
    return VideoModel.from_pretrained(run, device=device)


def has_dynamics(run: str | Path) -> bool:
    """Whether a run is of a video model."""
    file = resolve(run) / CONFIG
    return has_section(file, "dynamics") and read_section(file, "dynamics", DynamicsConfig).kind != "none"


def load_training_state(folder: Path) -> dict[str, Any]:
    """Optimiser, random generators and step of a checkpoint folder."""
    with going_on_from(folder):
        return torch.load(folder / TRAINING_STATE, map_location="cpu", weights_only=True)


def going_on_from(folder: Path) -> AbstractContextManager[None]:
    """InputError where the training state of a checkpoint folder cannot be read, or does not fit what is trained."""
    fault = "damaged or cut short, or not of this run"
    return reading(
        folder / TRAINING_STATE, fault, "training cannot go on from it; use another checkpoint of the run"
    )


def view_of(run: str | Path) -> str | None:
    """The camera that a run was trained on, by its name; None: the first one."""
    return (read_yaml(resolve(run) / CONFIG).get("data") or {}).get("view")


def rollouts_of(run: str | Path, data: str | Path) -> Rollouts:
    """A rollout file, or a folder of them, seen by the camera of a run. InputError as of Rollouts."""
    return Rollouts(data, view_of(run))


def content_hash(run: str | Path) -> str:
    """SHA-256 over the weights and the model's settings, as config.yaml spells them.

    Equal for checkpoints that compute the same function. Settings that a later version renames or adds leave the hash
    of a folder as it is: what an agent was trained with stays recognisable.
    """
    folder = resolve(run)
    file = folder / CONFIG
    digest = hashlib.sha256()
    settings = read_yaml(file)
    image = ("model", "soft_intro")
    for section in (*image, "identity", "tracking", "dynamics") if has_dynamics(folder) else image:
        if settings.get(section) is not None:
            digest.update(OmegaConf.to_yaml(settings[section]).encode())
    for name, tensor in sorted(load_weights(folder).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
