"""Checkpoints: a folder with weights and config rebuilds its model alone, a third file lets training go on.

RUN/checkpoints/{last,best}/model.safetensors     weights to use (averaged ones where training averages)
                            config.yaml           the run's config
                            training_state.pt     optimiser, random generators, step
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from dlp_dyn import config, folders
from dlp_dyn.dynamics.config import DynamicsConfig
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig, IdentityConfig
from dlp_dyn.image.model import DLP
from dlp_dyn.video import VideoConfig, VideoModel

FORMAT = "dlp_dyn checkpoint"
VERSION = "1"
WEIGHTS, CONFIG, TRAINING_STATE = "model.safetensors", "config.yaml", "training_state.pt"


def save(
    folder: Path, weights: dict[str, Tensor], config_yaml: str, training_state: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint folder in place of an earlier one of the same name.

    Everything is written beside it and swapped in when complete: a kill or a full disk leaves the earlier
    checkpoint as it was. Raises InputError when writing fails.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    contents: dict[str, bytes] = {
        WEIGHTS: safetensors_bytes(tensors, {"format": FORMAT, "version": VERSION}),
        CONFIG: config_yaml.encode(),
    }
    if training_state is not None:
        buffer = io.BytesIO()
        torch.save(training_state, buffer)
        contents[TRAINING_STATE] = buffer.getvalue()
    folders.write(folder, contents)


def resolve(path: str | Path) -> Path:
    """The checkpoint folder that a run (its best, else its last) or a checkpoint path stands for."""
    path = Path(path)
    checkpoints = path / "checkpoints"
    for candidate in (path, checkpoints / "best", checkpoints / "last"):
        folders.restore(candidate)
        if (candidate / WEIGHTS).is_file():
            return candidate
    if not path.exists():
        raise InputError(f"{path}: no such run folder or checkpoint")
    raise InputError(f"{path}: holds no checkpoint; give a run folder or a folder with {WEIGHTS}")


def load_model(run_or_checkpoint: str | Path, device: torch.device | str = "cpu") -> DLP:
    """The image model of a run folder (its best checkpoint, else its last) or of a checkpoint folder, in eval mode."""
    folder = resolve(run_or_checkpoint)
    if has_dynamics(folder):
        return load_video_model(folder, device).image
    weights = load_weights(folder)
    model = DLP(config.read_section(folder / CONFIG, "model", DLPConfig))
    load_into(model, weights, folder)
    return model.to(device).eval()


def has_dynamics(run_or_checkpoint: str | Path) -> bool:
    """Whether a run is of a video model."""
    file = resolve(run_or_checkpoint) / CONFIG
    return config.has_section(file, "dynamics") and _dynamics(file).kind != "none"


def _dynamics(file: Path) -> DynamicsConfig:
    return config.read_section(file, "dynamics", DynamicsConfig)


def load_video_model(run_or_checkpoint: str | Path, device: torch.device | str = "cpu") -> VideoModel:
    """The video model of a run folder or checkpoint folder, in eval mode.

    Raises InputError for a run without dynamics.
    """
    folder = resolve(run_or_checkpoint)
    if not has_dynamics(folder):
        raise InputError(
            f"{folder}: a model of single images, it has no dynamics; train some on it with "
            f"dlp-dyn train balls_video image={folder}"
        )
    file = folder / CONFIG
    cfg = VideoConfig(
        config.read_section(file, "model", DLPConfig),
        config.read_section(file, "identity", IdentityConfig),
        _dynamics(file),
    )
    model = VideoModel(cfg)
    load_into(model, load_weights(folder), folder)
    return model.to(device).eval()


def load_into(model: torch.nn.Module, weights: dict[str, Tensor], source: Path) -> None:
    """Copy weights into a model, or raise InputError naming the first one that does not fit."""
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    for name in sorted(expected.keys() | weights.keys()):
        found = tuple(weights[name].shape) if name in weights else None
        wanted = tuple(expected[name]) if name in expected else None
        if found != wanted:
            raise InputError(
                f"{source}: weight '{name}' is {found or 'missing'}, the model has {wanted or 'none'}; "
                "use the dlp_dyn and config.yaml that the checkpoint was made with"
            )
    model.load_state_dict(weights)


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Weights of a checkpoint folder, on the CPU."""
    file = folder / WEIGHTS
    try:
        with safetensors.safe_open(file, framework="pt") as stream:
            metadata = stream.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise InputError(
                    f"{file}: not a dlp_dyn checkpoint; import official ones with dlp-dyn convert"
                )
            if metadata.get("version") != VERSION:
                raise InputError(
                    f"{file}: checkpoint format {metadata.get('version')}, this dlp_dyn reads {VERSION}; "
                    "install the dlp_dyn that wrote it, or train again"
                )
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; is this a dlp_dyn checkpoint?") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(
            f"{file}: damaged or cut short ({error}); use another checkpoint of the run"
        ) from None


def load_training_state(folder: Path) -> dict[str, Any]:
    """Optimiser, random generators and step of a checkpoint folder."""
    file = folder / TRAINING_STATE
    if not file.is_file():
        raise InputError(
            f"{file}: no such file; this checkpoint can be used, but training cannot go on from it"
        )
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{file}: damaged or cut short ({reason}); use another checkpoint of the run"
        ) from None


def content_hash(run_or_checkpoint: str | Path) -> str:
    """SHA-256 over the weights and the model's config: equal for checkpoints that compute the same function."""
    folder = resolve(run_or_checkpoint)
    file = folder / CONFIG
    digest = hashlib.sha256()
    digest.update(config.to_yaml(config.read_section(file, "model", DLPConfig)).encode())
    if has_dynamics(folder):
        digest.update(config.to_yaml(config.read_section(file, "identity", IdentityConfig)).encode())
        digest.update(config.to_yaml(_dynamics(file)).encode())
    for name, tensor in sorted(load_weights(folder).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
