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
        t = torch.randint(diffusion.schedule.n_steps, rows.shape[:1], device=rows.device)
        return Losses({"denoising": denoising_error(diffusion, rows, torch.randn_like(rows), t)}, {})


def denoising_error(
    diffusion: ClipDiffusion,
    rows: Float[Tensor, "B T M C"],
    noise: Float[Tensor, "B T M C"],
    t: Int[Tensor, " B"],
) -> Float[Tensor, " B"]:
    """Mean over all entries; padding counts as right."""
    gap = diffusion.denoiser(diffusion.schedule.add_noise(rows, noise, t), t) - rows
    error = gap.abs() if diffusion.cfg.error == "l1" else gap.square()
    return (error * diffusion.packing.mask(diffusion.n_rows - 1, rows.device)).mean((1, 2, 3))
