"""Small video models for tests: a run folder with random weights, and files that do not fit it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch

from dlp_dyn import checkpoint
from dlp_dyn.config import DataConfig, TrainConfig, to_yaml
from dlp_dyn.data.writer import Episode, RolloutWriter
from dlp_dyn.dynamics.config import DynamicsConfig, GraphConfig, LatentActionConfig
from dlp_dyn.image.config import DLPConfig, EncoderConfig, NetworkConfig
from dlp_dyn.tracking.config import TrackingConfig
from dlp_dyn.video import VideoConfig, VideoModel

NETWORKS = NetworkConfig(
    proposal_channels=[8, 16], glimpse_channels=[8, 16], background_channels=[8, 16], stem_channels=8,
    map_channels=8, hidden_dim=32,
)  # fmt: skip
IMAGE = DLPConfig(image_size=32, n_particles=4, networks=NETWORKS)


def dynamics(action_dim: int = 0) -> DynamicsConfig:
    return DynamicsConfig("graph", window=4, action_dim=action_dim, graph=GraphConfig(hidden_dim=16))


def write_run(
    folder: Path,
    action_dim: int = 0,
    stride: int = 1,
    image: DLPConfig = IMAGE,
    kind: Any = "match",
    family: Any = "graph",
) -> Path:
    """A run folder with random weights. kind: of tracking. family: of dynamics."""
    torch.manual_seed(0)
    cfg = TrainConfig(
        DataConfig("x", stride=stride),
        model=image,
        tracking=TrackingConfig(kind),
        dynamics=replace(dynamics(action_dim), kind=family),
    )
    model = VideoModel(VideoConfig(cfg.model, cfg.tracking, cfg.dynamics))
    if family == "latent_graph":  # whose latent actions do something; heads start at zero
        with torch.no_grad():
            for x in model.dynamics.get_submodule("dynamics").parameters():
                x.add_(0.1 * torch.randn_like(x))
    checkpoint.save(folder / "checkpoints" / "best", model.state_dict(), to_yaml(cfg))
    return folder


def write_latent_run(folder: Path, views: int = 1, **settings: Any) -> Path:
    """The run of a world model with latent actions; of its random weights, those count that usually start at zero."""
    torch.manual_seed(0)
    latent = LatentActionConfig(
        dim=16,
        latent_dim=3,
        context_layers=1,
        context_heads=2,
        dynamics_layers=1,
        dynamics_heads=2,
        **settings,
    )
    cfg = TrainConfig(
        DataConfig("x"),
        model=replace(IMAGE, encoder=EncoderConfig(grid=True, passes=1, min_separation=0.0, views=views)),
        tracking=TrackingConfig("grid", static_frames=1),
        dynamics=DynamicsConfig("latent_actions", window=4, latent_actions=latent),
    )
    model = VideoModel(VideoConfig(cfg.model, cfg.tracking, cfg.dynamics))
    with torch.no_grad():
        for name, x in model.dynamics.named_parameters():
            if "modulation" in name or "heads" in name:
                x.normal_(0, 0.3)
    checkpoint.save(folder / "checkpoints" / "best", model.state_dict(), to_yaml(cfg))
    return folder


def write_image_run(folder: Path) -> Path:
    """A run folder of a model without dynamics."""
    model = VideoModel(VideoConfig(IMAGE, dynamics=dynamics()))
    cfg = TrainConfig(DataConfig("x"), model=IMAGE)
    checkpoint.save(folder / "checkpoints" / "best", model.image.state_dict(), to_yaml(cfg))
    return folder


def write_actions(path: Path, width: int = 2, length: int = 14, broken: bool = False, side: int = 32) -> Path:
    """Episodes of noise with random actions and without ground truth; broken: one action is NaN."""
    rng = np.random.default_rng(0)
    with RolloutWriter(path) as writer:
        for part in ("train", "validation", "test", "test", "test"):
            actions = rng.normal(size=(length, width)).astype(np.float32)
            if broken:
                actions[3] = np.nan
            writer.append(Episode(rng.integers(0, 255, (length, side, side, 3), np.uint8), actions), part)
    return path


def write_gif(path: Path, alpha: bool = False, side: int = 32, length: int = 6) -> Path:
    frames = np.random.default_rng(0).integers(0, 255, (length, side, side, 4 if alpha else 3), np.uint8)
    if alpha:
        frames[..., 3] = 0
    iio.imwrite(path, frames, duration=50, loop=0)
    return path
