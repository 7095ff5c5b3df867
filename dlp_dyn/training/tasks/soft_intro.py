"""Training Soft-IntroVAE: on points of the plane, on images, on point clouds."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dlp_dyn import metrics
from dlp_dyn.clip import to_images
from dlp_dyn.config import TrainConfig
from dlp_dyn.data import densities, primitives, shape_files
from dlp_dyn.data.clips import ClipDataset, collate
from dlp_dyn.data.rollouts import Rollouts
from dlp_dyn.errors import InputError
from dlp_dyn.evaluation import images as evaluation
from dlp_dyn.evaluation.densities import divergences, mode_figures, negative_elbo_grid
from dlp_dyn.evaluation.game import behind, game_figures, game_warnings
from dlp_dyn.evaluation.point_clouds import coverage, occupancy_jsd
from dlp_dyn.evaluation.samples import sample_figures
from dlp_dyn.plotting import pictures, samples
from dlp_dyn.soft_intro.model import IntroVAE

_N_POINTS = 2**20  # of the plane, that are trained on; as many as a run of 30,000 batches sees 15 times
_N_JUDGED = 20_000
_N_CLOUDS = (2_000, 200)  # for training, held out
_LARGER = 1e9  # more than kernel distances differ
_PATIENCE = 3  # evaluations in a row
_DRAWN = 6  # rows of a picture
_GRID = 120  # cells of a side


class Tensors(Dataset[Tensor]):
    """Data that fit in memory; a batch is read at once."""

    def __init__(self, data: Tensor) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        return self.data[index : index + 1]

    def __getitems__(self, indices: Sequence[int]) -> list[Tensor]:
        return [self.data[list(indices)]]


class GameTask:
    """What is watched in every game: KL of data and of fakes, on held-out data.

    A subclass gives `clips`, `collate`, `measure` and `picture`.
    """

    def __init__(self, held_out: Tensor) -> None:
        self.held_out = held_out
        self._plays, self._behind = False, 0

    def collate(self, clips: Sequence[Any]) -> Any:
        return torch.cat(list(clips))

    @torch.no_grad()
    def evaluate(self, model: IntroVAE) -> dict[str, float]:
        training, device = model.training, next(model.parameters()).device
        model.eval()
        x = model.shown(self.held_out.to(device))
        figures = self.measure(model, x) | game_figures(model, x)
        model.train(training)
        self._plays = model.plays
        return figures

    @abstractmethod
    def measure(self, model: IntroVAE, x: Tensor) -> dict[str, float]:
        """How good samples are."""

    @abstractmethod
    def picture(self, model: IntroVAE) -> samples.Picture:
        """Data, reconstructions and samples."""

    def warnings(self, metrics: dict[str, float]) -> Sequence[str]:
        told = game_warnings(metrics, self._plays)
        self._behind = self._behind + 1 if self._plays and behind(metrics) else 0
        if self._behind >= _PATIENCE:
            told.append(
                f"the KL of samples ({metrics['kl_sample']:.3g}) stays below that of data ({metrics['kl_real']:.3g}): "
                "the encoder does not tell them apart; bring the KL up to which fakes are repelled close to that of "
                "data with soft_intro.game.negative"
            )
        return told

    @torch.no_grad()
    def draw(self, model: IntroVAE, folder: Path, step: int) -> None:
        training = model.training
        model.eval()
        pictures.write_image(folder / f"step_{step:07d}.png", self.picture(model))
        model.train(training)


class DensityTask(GameTask):
    """Points of a known density."""

    def __init__(self, cfg: TrainConfig) -> None:
        self.name = cfg.data.path
        rng = np.random.default_rng(cfg.seed)
        self.clips = Tensors(torch.from_numpy(densities.points(self.name, _N_POINTS, rng)))
        self.real = densities.points(self.name, _N_JUDGED, rng)
        super().__init__(torch.from_numpy(self.real[: cfg.eval_frames]))

    def measure(self, model: IntroVAE, x: Tensor) -> dict[str, float]:  # noqa: ARG002 - more points than those
        fake = self._sample(model)
        return divergences(self.real, fake, densities.limit(self.name)) | mode_figures(self.name, fake)

    def score(self, metrics: dict[str, float]) -> float:
        return -metrics["jsd"]

    def picture(self, model: IntroVAE) -> samples.Picture:
        limit = densities.limit(self.name)
        row = {"data": samples.points_picture(self.real, limit)}
        return pictures.label_grid([row | density_pictures(model, self._sample(model), limit)])

    def _sample(self, model: IntroVAE) -> np.ndarray:
        g = torch.Generator(next(model.parameters()).device).manual_seed(0)
        return model.sample(_N_JUDGED, g).cpu().numpy()


def density_pictures(model: IntroVAE, sampled: np.ndarray, limit: float) -> dict[str, samples.Picture]:
    """Of a model of the plane: points that it drew, and exp(ELBO)."""
    grid = negative_elbo_grid(model, limit, _GRID)
    return {
        "samples": samples.points_picture(sampled, limit),
        "likelihood": samples.likelihood_picture(grid.cpu().numpy()),
    }


class PictureTask(GameTask):
    """Frames of rollouts as single images."""

    def __init__(self, cfg: TrainConfig, rollouts: Rollouts) -> None:
        self.clips = ClipDataset(rollouts, "train", cfg.data.clip_length, cfg.data.stride)
        frames = evaluation.spread_frames(rollouts, "validation", cfg.eval_frames).frames
        super().__init__(to_images(frames))

    def collate(self, clips: Sequence[Any]) -> Any:
        return collate(clips)

    def measure(self, model: IntroVAE, x: Tensor) -> dict[str, float]:
        fake = model.sample(len(x), torch.Generator(x.device).manual_seed(1))
        drawn = model.reconstruct(x).clamp(0, 1)
        figures = {"side": float(x.shape[-1]), "psnr": float(metrics.psnr(x, drawn).mean())}
        return figures | sample_figures(x, fake)

    def score(self, metrics: dict[str, float]) -> float:
        """Of models that grow, those of the largest side are compared."""
        return _LARGER * metrics["side"] - metrics["kernel_distance"]

    def picture(self, model: IntroVAE) -> samples.Picture:
        device = next(model.parameters()).device
        some = np.linspace(0, len(self.held_out) - 1, _DRAWN).round().astype(int)
        x = model.shown(self.held_out[some].to(device))
        columns = {"data": x, "reconstruction": model.reconstruct(x)}
        drawn = model.sample(4 * _DRAWN, torch.Generator(device).manual_seed(0)).split(_DRAWN)
        columns |= {f"sample {i + 1}": part for i, part in enumerate(drawn)}
        return samples.sample_picture(samples.image_picture, columns)


class CloudTask(GameTask):
    """Primitives, or the shapes of a folder, of which every tenth is held out."""

    def __init__(self, cfg: TrainConfig, n_points: int) -> None:
        rng = np.random.default_rng(cfg.seed)
        if cfg.data.path == "primitives":
            all_clouds = torch.from_numpy(primitives.clouds(sum(_N_CLOUDS), n_points, rng))
            train, held_out = all_clouds.split(_N_CLOUDS)
        else:
            folder = Path(cfg.data.path)
            if not folder.is_dir():
                raise InputError(
                    f"{folder}: no such folder; give one of OFF, PLY or NPY files, or primitives"
                )
            all_clouds = torch.from_numpy(shape_files.read_clouds(folder, n_points, rng))
            if len(all_clouds) < 2:
                raise InputError(f"{folder}: one shape; every tenth is held out, so give 2 or more")
            out = torch.arange(len(all_clouds)) % 10 == min(9, len(all_clouds) - 1)
            train, held_out = all_clouds[~out], all_clouds[out]
        self.clips = Tensors(train)
        super().__init__(held_out[: cfg.eval_frames])

    def measure(self, model: IntroVAE, x: Tensor) -> dict[str, float]:
        fake = model.sample(len(x), torch.Generator(x.device).manual_seed(1))
        figures = coverage(fake, x)
        figures["jsd"] = occupancy_jsd(fake.cpu().numpy(), x.cpu().numpy())
        return figures

    def score(self, metrics: dict[str, float]) -> float:
        return -metrics["mmd"]

    def picture(self, model: IntroVAE) -> samples.Picture:
        device = next(model.parameters()).device
        x = self.held_out[:_DRAWN].to(device)
        between = model.interpolate(x, x.roll(1, 0), 3)[:, 1]
        drawn = model.sample(2 * _DRAWN, torch.Generator(device).manual_seed(0)).split(_DRAWN)
        columns = {"data": x, "reconstruction": model.reconstruct(x), "half way": between}
        columns |= {f"sample {i + 1}": part for i, part in enumerate(drawn)}
        return samples.sample_picture(samples.cloud_picture, columns)
