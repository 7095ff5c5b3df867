"""What particles and the background look like."""

from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn import geometry
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.networks.base import Networks
from dlp_dyn.particles import FAINT


class AppearanceEncoder(nn.Module):
    """Glimpse -> features, as mean and log-variance or, where interaction gives the spread, as a mean alone."""

    def __init__(self, cfg: DLPConfig, networks: Networks) -> None:
        super().__init__()
        self.cnn = networks.glimpse_encoder(cfg.channels)
        flat, n_out = self.cnn.out_dim, cfg.feature_dim * (1 if cfg.encoder.interaction else 2)
        self.head = networks.appearance_head(flat, n_out)

    def forward(self, glimpses: Float[Tensor, "B N C S S"]) -> Float[Tensor, "B N D"]:
        return self.head(self.cnn(glimpses.flatten(0, 1))).unflatten(0, glimpses.shape[:2])


class BackgroundEncoder(nn.Module):
    """Image without its visible particles -> background vector, as mean and log-variance or as a mean alone."""

    def __init__(self, cfg: DLPConfig, networks: Networks) -> None:
        super().__init__()
        self.hard = cfg.encoder.hard_background_mask
        self.box, self.canvas = cfg.glimpse_size, cfg.image_size
        self.align_corners = not cfg.compat.pixel_border_sampling
        self.cnn = networks.image_encoder()
        flat, n_out = self.cnn.out_dim, cfg.background_dim * (1 if cfg.encoder.interaction else 2)
        self.head = networks.background_head(flat, n_out)

    def forward(
        self,
        images: Float[Tensor, "B 3 H W"],
        position: Float[Tensor, "B N 2"],
        visible: Float[Tensor, "B N 1"],
    ) -> Float[Tensor, "B D"]:
        weight = (visible > FAINT).float() if self.hard else visible
        cover = geometry.box_cover(
            position.detach(), weight.detach(), self.box, self.canvas, align_corners=self.align_corners
        )
        return self.head(self.cnn(images * (1 - cover)).flatten(1))
