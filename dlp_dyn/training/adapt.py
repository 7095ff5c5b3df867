"""Settings that follow the data: what `auto` names is measured when training starts."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from dlp_dyn.config import TrainConfig
from dlp_dyn.data.inspection import LEAST_PIXELS, Inspection
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.training.motion import followed, motion_unit

_MOTION_SCALE = "dynamics.graph.motion_scale"
ENERGY = (
    30.0  # what the loss of a small object weighs in `weights.reconstruction`, against which prices are set
)
_SPILL = 3.0  # particles: as much as so many cost is paid for a glimpse that covers only what stands still
_CELL = 16  # pixels of the coarsest map of lean backgrounds


def measured(cfg: TrainConfig, rollouts: Rollouts, found: Inspection) -> dict[str, Any]:
    """All settings that can be measured, by name, with what the data asks for."""
    fixed = found.fixed_camera
    patch = found.patch_pixels if "model.patch_size" in cfg.auto else cfg.model.patch_size
    return {
        "data.clip_length": 2 if _long_enough(cfg, rollouts) else 1,
        "model.image_size": found.image_size,
        "model.patch_size": found.patch_pixels,
        "model.n_particles": min(found.n_particles, (found.image_size // patch) ** 2),
        "model.glimpse_fraction": found.glimpse_pixels / (found.image_size - 1),
        "model.largest_fraction": min(found.largest_pixels / (found.image_size - 1), 0.9),
        "model.reference": "median" if fixed else "blur",
        "model.background_dim": 1 if fixed else 8,
        "weights.reconstruction": ENERGY / max(found.object_energy, 1e-6),
        "weights.kl_background": 20.0 if fixed else 1e-3,
        "weights.spill": _SPILL if fixed else 0.0,
        "prices.threshold": found.threshold,
        "prices.object_energy": found.object_energy if fixed else 0.0,
        "dynamics.action_dim": rollouts.action_dim * cfg.data.stride,
    }


def adapt(cfg: TrainConfig, rollouts: Rollouts, found: Inspection) -> TrainConfig:
    """The config with the settings that `auto` names as the data asks for, and layer sizes that fit them.

    Raises InputError where nothing moves, and for names that cannot be measured.
    """
    if cfg.stage == "joint" and not found.count:
        raise InputError(
            f"{rollouts.path}: nothing moves in {found.n_frames} frames of the training part (no spot of "
            f"{LEAST_PIXELS} pixels differs by more than {found.threshold:.2f} of 1): "
            "use larger frames, or crop to what moves"
        )
    values = measured(cfg, rollouts, found)
    if _MOTION_SCALE in cfg.auto and cfg.image is not None:
        values[_MOTION_SCALE] = motion_unit(followed(cfg, rollouts), cfg.data.stride)
    for name in cfg.auto:
        if name not in values:
            raise InputError(f"config: auto names {name}, which is not measured; use {', '.join(values)}")
        cfg = _with(cfg, name.split("."), values[name])
    sizes = any(name.startswith("model.") for name in cfg.auto)
    return replace(cfg, model=_fitted(cfg.model) if sizes else cfg.model, auto=[])


def _long_enough(cfg: TrainConfig, rollouts: Rollouts) -> bool:
    """Whether half of the training frames or more have another `stride` frames later to exchange appearances with."""
    lengths = rollouts.episode_lengths[rollouts.part("train")]
    return bool(np.maximum(lengths - cfg.data.stride, 0).sum() >= 0.5 * lengths.sum())


def _with(cfg: Any, path: list[str], value: Any) -> Any:
    assert is_dataclass(cfg)
    assert path[0] in {f.name for f in fields(cfg)}
    inner = value if len(path) == 1 else _with(getattr(cfg, path[0]), path[1:], value)
    return replace(cfg, **{path[0]: inner})  # pyright: ignore[reportArgumentType]


def _fitted(model: DLPConfig) -> DLPConfig:
    """Layer sizes that lean networks can have at these sizes of image and glimpse."""
    n, side = model.networks, model.image_size
    cells = (side // _CELL) ** 2
    start = model.glimpse_size
    while start % 2 == 0 and start >= 6:
        start //= 2
    return replace(
        model,
        networks=replace(
            n,
            glimpse_start=start,
            background_start=next(d for d in range(8, 0, -1) if (side // 2) % d == 0),
            hidden_dim=cells * -(-n.hidden_dim // cells),
        ),
    )
