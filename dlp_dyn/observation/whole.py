"""A picture as one particle: what agents see with a VAE, which knows of no objects."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.errors import InputError
from dlp_dyn.particles import Particles
from dlp_dyn.soft_intro import families
from dlp_dyn.soft_intro.images import ImageVAE

_WHOLE = 5.0  # logit of the share of the side that the particle has


class WholePicture(nn.Module):
    """The mean code of a VAE of images (a Soft-IntroVAE; with `game.fakes=none` a plain one) as the features of a
    particle in the middle, as large as the picture and always there. Frozen.

    Raises InputError for a Soft-IntroVAE of another family.
    """

    def __init__(self, run: str | Path, device: torch.device | str) -> None:
        super().__init__()
        model = families.load(run, device)
        if type(model) is not ImageVAE:
            raise InputError(
                f"{run}: a Soft-IntroVAE of {type(model).__name__}, no encoder of pictures; give one of "
                "soft_intro.images"
            )
        self.vae = model.requires_grad_(False)
        self.image_size, self.feature_dim = model.own.image_size, model.latent_dim

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Particles:
        code = self.vae.encoder(self.vae.shown(images))[0].float()[:, None]
        middle = code.new_zeros(*code.shape[:2], 2)
        present = code.new_ones(*code.shape[:2], 1)
        return Particles(middle, torch.full_like(middle, _WHOLE), torch.zeros_like(present), present, code)
