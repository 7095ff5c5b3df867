"""Training a whole video model on clips."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.config import TrainConfig
from dlp_dyn.data.clips import ClipDataset
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.data.steering import SteeredClips, read_embeddings
from dlp_dyn.errors import InputError
from dlp_dyn.training.tasks.images import ImageTask
from dlp_dyn.video import VideoModel


class ClipTask(ImageTask):
    """As on images, with actions: the dynamics learn along, the image model's reconstruction is what is watched."""

    def __init__(self, cfg: TrainConfig, model: VideoModel, rollouts: Rollouts) -> None:
        super().__init__(cfg, rollouts)
        latent = cfg.dynamics.latent_actions
        if cfg.dynamics.kind == "latent_actions" and (latent.goal or latent.language_dim):
            clips = ClipDataset(rollouts, "train", cfg.data.clip_length, cfg.data.stride)
            self.clips = SteeredClips(clips, latent.goal, _texts(cfg) if latent.language_dim else None)
        fit_actions(model, rollouts, cfg.data.stride)

    def evaluate(self, model: VideoModel) -> dict[str, float]:  # type: ignore[override]
        return super().evaluate(model.image)

    def draw(self, model: VideoModel, folder: Path, step: int) -> None:  # type: ignore[override]
        super().draw(model.image, folder, step)


def _texts(cfg: TrainConfig) -> Float[np.ndarray, "K L E"]:
    """Raises InputError where there are none, and for others than the model takes."""
    latent = cfg.dynamics.latent_actions
    if cfg.data.texts is None:
        raise InputError(
            "config: dynamics.latent_actions.language_dim asks for texts: set data.texts to the npy file of them, or "
            "language_dim to 0"
        )
    texts = read_embeddings(cfg.data.texts, ("episodes", "length", "width"))
    if texts.shape[1] > latent.language_length or texts.shape[2] != latent.language_dim:
        raise InputError(
            f"{cfg.data.texts}: texts of {texts.shape[1]} tokens of width {texts.shape[2]}, the model takes "
            f"{latent.language_length} of width {latent.language_dim}: set language_length and language_dim to them"
        )
    return texts


def fit_actions(model: VideoModel, rollouts: Rollouts, stride: int) -> None:
    """Tell the dynamics the range of the actions, where they take any."""
    if model.cfg.dynamics.action_dim:
        model.dynamics.fit_actions(_taken(rollouts).repeat(1, stride))


def _taken(rollouts: Rollouts) -> Float[Tensor, "K A"]:
    """All actions of the training part, without the padding at the end of every episode."""
    taken = np.isin(np.arange(rollouts.n_frames), rollouts.episode_ends - 1, invert=True)
    taken &= np.repeat(
        np.isin(np.arange(rollouts.n_episodes), rollouts.part("train")), rollouts.episode_lengths
    )
    return torch.from_numpy(rollouts.column("actions")[taken])
