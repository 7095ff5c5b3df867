"""What training does differently for images, for clips, and for dynamics on a frozen image model."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn import checkpoint, plots, video_plots
from dlp_dyn.config import TrainConfig
from dlp_dyn.data.rollouts import ClipDataset, Rollouts, collate
from dlp_dyn.data.synthetic import cache_folder
from dlp_dyn.dynamics.rollout import rollout
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation import images as evaluation
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.model import DLP
from dlp_dyn.particles import Scene
from dlp_dyn.progress import track
from dlp_dyn.settings import read_section
from dlp_dyn.training import particle_clips
from dlp_dyn.training.particle_clips import ParticleClips, encode_part
from dlp_dyn.video import VideoConfig, VideoModel

_SAMPLE_FRAMES, _SAMPLE_CLIPS = 6, 2
_HORIZON = 10  # steps that held-out rollouts are judged on, or as many as an episode has


@dataclass(frozen=True)
class Stage:
    """What the training loop asks for.

    score: of the figures that `judge` gives, the larger the better. draw: writes pictures into a folder, named after
    the step.
    """

    clips: ClipDataset | ParticleClips
    collate: Callable[[Any], Any]
    judge: Callable[[Any], dict[str, float]]
    score: Callable[[dict[str, float]], float]
    draw: Callable[[Any, Path, int], None]


def settle(cfg: TrainConfig) -> TrainConfig:
    """The config with what follows from other parts of it: the image run's model, the length of clips.

    Raises InputError for parts that do not fit each other.
    """
    if cfg.stage == "dynamics" and cfg.dynamics.kind == "none":
        raise InputError(
            "config: stage=dynamics trains dynamics, and dynamics.kind is none: use graph or transformer"
        )
    if cfg.stage == "dynamics" and cfg.image is None:
        raise InputError(
            "config: stage=dynamics needs the run of an image model; add image=RUN to the command"
        )
    if cfg.image is not None:
        model = read_section(checkpoint.resolve(cfg.image) / checkpoint.CONFIG, "model", DLPConfig)
        cfg = replace(cfg, model=model)
    d, length = cfg.dynamics, cfg.data.clip_length
    if cfg.stage == "dynamics":
        length = d.window + d.rollout_steps
    elif d.kind == "transformer" and length > d.window + 1:
        raise InputError(
            f"config: data.clip_length is {length}, the transformer sees dynamics.window={d.window} frames and "
            f"predicts one more: use {d.window + 1} or less"
        )
    elif d.kind != "none" and length <= cfg.identity.static_frames:
        raise InputError(
            f"config: data.clip_length is {length}, of which the first identity.static_frames="
            f"{cfg.identity.static_frames} have no prior from dynamics: use a larger clip_length"
        )
    return replace(cfg, data=replace(cfg.data, clip_length=length))


def build(cfg: TrainConfig) -> DLP | VideoModel:
    """The model that a settled config describes, with random weights or those of the image run."""
    image = None if cfg.image is None else checkpoint.load_model(cfg.image)
    if cfg.dynamics.kind == "none":
        return image.train() if image is not None else DLP(cfg.model)
    model = VideoModel(VideoConfig(cfg.model, cfg.identity, cfg.dynamics))
    if image is not None:
        model.image.load_state_dict(image.state_dict())
    if cfg.stage == "dynamics":
        model.freeze_image()
    return model


def image_of(model: DLP | VideoModel) -> DLP:
    return model.image if isinstance(model, VideoModel) else model


def prepare(cfg: TrainConfig, model: DLP | VideoModel, rollouts: Rollouts) -> Stage:
    """Data, judge and pictures for a settled config. Raises InputError for data that does not fit."""
    evaluation.check_size(image_of(model), rollouts)
    width = rollouts.action_dim * cfg.data.stride
    if cfg.dynamics.action_dim not in (0, width):
        raise InputError(
            f"{rollouts.path}: actions of width {width} (stride {cfg.data.stride}), dynamics.action_dim is "
            f"{cfg.dynamics.action_dim}: "
            + (
                f"set it to {width}, or to 0 for a model without"
                if width
                else "use data with actions, or set it to 0"
            )
        )
    clips = ClipDataset(rollouts, "train", cfg.data.clip_length, cfg.data.stride)
    if isinstance(model, VideoModel) and (layer := model.dynamics.action) is not None:
        layer.fit(_taken(rollouts).repeat(1, cfg.data.stride))
    if isinstance(model, VideoModel) and cfg.stage == "dynamics":
        return _second_stage(cfg, model, rollouts, clips)
    held_out = evaluation.spread_frames(rollouts, "validation", cfg.eval_frames)
    some = held_out.frames[np.unique(np.linspace(0, len(held_out) - 1, _SAMPLE_FRAMES).round().astype(int))]

    def draw(model: DLP | VideoModel, folder: Path, step: int) -> None:
        plots.write_image(folder / f"step_{step:07d}.png", plots.sample_grid(image_of(model), some))

    return Stage(
        clips,
        collate,
        lambda model: evaluation.judge_held_out(image_of(model), held_out),
        lambda figures: figures["psnr"],
        draw,
    )


def _taken(rollouts: Rollouts) -> Float[Tensor, "K A"]:
    """All actions of the training part, without the padding at the end of every episode."""
    taken = np.isin(np.arange(rollouts.n_frames), rollouts.episode_ends - 1, invert=True)
    taken &= np.repeat(
        np.isin(np.arange(rollouts.n_episodes), rollouts.part("train")), rollouts.episode_lengths
    )
    return torch.from_numpy(rollouts.column("actions")[taken])


def _second_stage(cfg: TrainConfig, model: VideoModel, rollouts: Rollouts, clips: ClipDataset) -> Stage:
    folder = Path(cfg.image or "")
    cache = (folder if folder.is_dir() else cache_folder()) / "particles"  # a Hub id is no folder
    encoded: dict[str, Scene] = {}
    for part in ("train", "validation"):
        with track(f"encode {part}", len(rollouts.part(part)), "episodes") as progress:
            encoded[part] = encode_part(model, rollouts, part, cache, progress.reach)
    train = ParticleClips(clips, "train", encoded["train"])
    window = cfg.dynamics.window
    longest = int(rollouts.episode_lengths[rollouts.part("validation")].max())
    horizon = max(min(_HORIZON, (longest - 1) // cfg.data.stride + 1 - window), 1)
    later = ClipDataset(rollouts, "validation", window + horizon, cfg.data.stride)
    held_out = ParticleClips(later, "validation", encoded["validation"])
    index = np.unique(np.linspace(0, len(later) - 1, cfg.eval_frames).round().astype(int)).tolist()
    drawn = index[:: max(len(index) // _SAMPLE_CLIPS, 1)][:_SAMPLE_CLIPS]
    truth = rollouts.frames(later.starts[drawn][:, None] + np.arange(window + horizon) * cfg.data.stride)

    def predict(model: VideoModel, clips: list[int]) -> tuple[Scene, Scene]:
        clip = held_out.__getitems__(clips)[0].to(next(model.parameters()).device)
        model.eval()
        scene = rollout(model.dynamics, clip.scene[:, :window], horizon, clip.actions)
        model.train()
        return scene, clip.scene

    def judge(model: VideoModel) -> dict[str, float]:
        p, q = (scene.particles[:, window:] for scene in predict(model, index))
        gap = (p.position - q.position).norm(dim=-1) / 2  # in image sides
        error = (gap * q.transparency[..., 0]).sum((0, 2)) / q.transparency.sum((0, 2, 3)).clamp_min(1e-6)
        return {
            "rollout_error": float(error.sum()),
            "first_step": float(error[0]),
            "last_step": float(error[-1]),
        }

    def draw(model: VideoModel, folder: Path, step: int) -> None:
        frames = video_plots.prediction_video(model, predict(model, drawn)[0], truth, window)
        plots.write_video(folder / f"step_{step:07d}.gif", frames, 8)

    return Stage(train, particle_clips.collate, judge, lambda figures: -figures["rollout_error"], draw)
