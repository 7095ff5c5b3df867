"""The objective of generation: what a noisy clip is without its noise."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dlp_dyn.clip import SceneClip
from dlp_dyn.generation.diffusion import ClipDiffusion
from dlp_dyn.generation.model import VideoGenerator
from dlp_dyn.objectives.base import Losses, Objective, Update
from dlp_dyn.objectives.config import DenoisingWeights


class DenoisingError(Objective):
    """Error of the clip that the denoiser sees behind noise of any step (DiffuseDDLP, TMLR 2024).

    On particles that a frozen video model has encoded.
    """

    Weights = DenoisingWeights
    model: VideoGenerator

    def updates(self) -> tuple[Update, ...]:
        return (Update("denoiser", tuple(self.model.diffusion.denoiser.parameters())),)

    def forward(self, batch: SceneClip, update: str = "denoiser", step: int = 1) -> Losses:  # noqa: ARG002
        diffusion = self.model.diffusion
        rows = diffusion.rows(batch.scene)
        t = levels(diffusion, len(rows)).to(rows.device)
        return Losses({"denoising": denoising_error(diffusion, rows, torch.randn_like(rows), t)}, {})


def levels(diffusion: ClipDiffusion, n: int, generator: torch.Generator | None = None) -> Int[Tensor, "*S"]:
    """Steps of noise of n clips; with `gaps` of each frame, -1 around the gap in every second clip."""
    t = torch.randint(diffusion.schedule.n_steps, (n,), generator=generator)
    if not diffusion.cfg.gaps:
        return t
    n_frames = diffusion.cfg.frames
    first = torch.randint(1, n_frames - 1, (n,), generator=generator)
    after = first + 1 + (torch.rand(n, generator=generator) * (n_frames - 1 - first)).long()
    frame = torch.arange(n_frames)
    noisy = (frame >= first[:, None]) & (frame < after[:, None])
    noisy[::2] = True
    return torch.where(noisy, t[:, None], -1)


def denoising_error(
    diffusion: ClipDiffusion,
    rows: Float[Tensor, "B T M C"],
    noise: Float[Tensor, "B T M C"],
    t: Int[Tensor, "*S"],
) -> Float[Tensor, " B"]:
    """Mean over all entries of what the network gives; padding counts as right, as do frames without noise."""
    schedule, velocity = diffusion.schedule, diffusion.cfg.predicts == "velocity"
    levels = diffusion.levels(t)
    target = schedule.velocity(rows, noise, levels) if velocity else rows
    gap = diffusion.network(schedule.add_noise(rows, noise, levels), t) - target
    error = gap.abs() if diffusion.cfg.error == "l1" else gap.square()
    error = error * diffusion.packing.mask(diffusion.n_rows - 1, rows.device)
    if velocity:
        error = error * (levels >= 0).view(*levels.shape, *[1] * (error.ndim - levels.ndim))
    return error.mean((1, 2, 3))
