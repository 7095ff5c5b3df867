"""DLPv1, the model: encode images into particles, decode them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from dlp_dyn import geometry
from dlp_dyn.image.keypoint_vae.config import KeypointVAEConfig
from dlp_dyn.image.keypoint_vae.encoder import KeypointEncoder, KeypointEncoding, Prior, gaussian_maps, occupy
from dlp_dyn.image.keypoint_vae.networks import GlimpseDecoder, PointNet, image_decoder
from dlp_dyn.particles import Draw, Particles, logit, mean
from dlp_dyn.settings import read_section
from dlp_dyn.sharing.mixin import SharedModel

_NOISY_ABOVE = 0.1  # of alpha, below which noise is not added


@dataclass(frozen=True)
class KeypointDecoding:
    """What the decoders draw; nothing keeps the background, which has no output activation, in [0, 1].

    background: the whole image in the masked model. glimpses: RGBA of the object model, else None.
    foreground: what they draw, on black.
    """

    image: Float[Tensor, "B 3 H W"]
    background: Float[Tensor, "B 3 H W"]
    glimpses: Float[Tensor, "B N 4 S S"] | None = None
    foreground: Float[Tensor, "B 3 H W"] | None = None


class KeypointVAE(SharedModel):
    """Deep latent particles, first version (DLPv1, ICML 2022, arXiv 2205.15821).

    Particles have a position, features and, in the object model, a transparency; no size and no depth.
    Raises InputError when the settings cannot make a model.
    """

    def __init__(self, cfg: KeypointVAEConfig) -> None:
        super().__init__()
        cfg.check()
        self.cfg = cfg
        self.prior = Prior(cfg)
        self.encoder = KeypointEncoder(cfg)
        self.pointnet = PointNet(cfg.n_particles, cfg.feature_dim, cfg.map_side)
        maps = (2 if cfg.decoder == "object" else 3) * cfg.n_particles
        self.image_decoder = image_decoder(maps, cfg.encoder_channels, cfg.n_particles + 1)
        self.glimpse_decoder = (
            GlimpseDecoder(cfg.feature_dim, cfg.glimpse_size) if cfg.decoder == "object" else None
        )
        self.to(memory_format=torch.channels_last)  # half the time of a step on a CPU

    @classmethod
    def from_config(cls, file: Path) -> "KeypointVAE":
        """Raises InputError for the config of another kind of model."""
        return cls(read_section(file, "keypoint_vae", KeypointVAEConfig))

    def sections(self) -> dict[str, object]:
        return {"keypoint_vae": self.cfg}

    def encode(self, images: Float[Tensor, "B 3 H W"], draw: Draw = mean) -> KeypointEncoding:
        """Images in [0, 1]."""
        return self.encoder(images, draw)

    def particles(self, images: Float[Tensor, "B 3 H W"]) -> Particles:
        """The means, as other image models give them: all of one size and one depth."""
        found = self.encode(images)
        position = found.position[:, :-1]
        size = torch.full_like(position, logit(self.cfg.glimpse_size / self.cfg.image_size))
        depth = torch.zeros_like(position[..., :1])
        return Particles(position, size, depth, found.transparency, found.features[:, :-1])

    def decode(
        self,
        encoding: KeypointEncoding,
        transparency: Float[Tensor, "B N 1"] | None = None,
        alpha_noise: float = 0.0,
        with_background: bool = True,
    ) -> KeypointDecoding:
        """transparency: in the place of the encoded one. alpha_noise: standard deviation of noise on placed alpha.

        with_background: the object model's; else glimpses lie on black, as in the warm-up.
        """
        if self.glimpse_decoder is None:
            image = self.image_decoder(self.decoder_maps(encoding))
            return KeypointDecoding(image, image)
        if with_background:
            background = self.image_decoder(self.decoder_maps(encoding))
        else:
            side = self.cfg.image_size
            background = encoding.position.new_zeros(len(encoding.position), 3, side, side)
        glimpses = self.glimpse_decoder(encoding.features[:, :-1])
        on = encoding.transparency if transparency is None else transparency
        image, foreground = self._stitch(glimpses, encoding.position[:, :-1], on, background, alpha_noise)
        return KeypointDecoding(image, background, glimpses, foreground)

    def decoder_maps(self, encoding: KeypointEncoding) -> Float[Tensor, "B M f f"]:
        """What the image decoder sees: Gaussian maps, the PointNet's maps, and in the masked model the image's own."""
        position, features = encoding.position, encoding.features
        maps = gaussian_maps(position[:, :-1], self.cfg)
        if self.cfg.decoder == "object":  # this image is the background: only its features learn from it
            features = torch.cat([features[:, :-1].detach(), features[:, -1:]], 1)
            return torch.cat([maps, self.pointnet(position, features)], 1)
        inside = self.encoder.foreground(maps)
        drawn = inside * self.pointnet(position, features)
        return torch.cat([maps, drawn, (1 - inside) * encoding.heat_map.detach()], 1)

    def _stitch(
        self, glimpses: Tensor, position: Tensor, on: Tensor, background: Tensor, alpha_noise: float
    ) -> tuple[Float[Tensor, "B 3 H W"], Float[Tensor, "B 3 H W"]]:
        """Glimpses over the background, the earlier particle in front: (image, foreground)."""
        side = self.cfg.image_size
        size = torch.full_like(position, glimpses.shape[-1] / side)
        placed = geometry.place_glimpses(glimpses, position, size, side, align_corners=False).clamp(0, 1)
        rgb, alpha = placed[:, :, :3], placed[:, :, 3]
        if alpha_noise:
            alpha = alpha + alpha_noise * torch.randn_like(alpha) * (alpha > _NOISY_ABOVE)
        shares = occupy(alpha * on[..., None])
        foreground = (shares[:, :, None] * rgb).sum(1)
        left = (1 - shares.sum(1, keepdim=True).clamp(0, 1)) * background
        return left + foreground, foreground
