"""DLPv1's encoder: positions from the whole image, features from crops around them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from dlp_dyn import geometry
from dlp_dyn.image.keypoint_vae.config import KeypointVAEConfig
from dlp_dyn.image.keypoint_vae.networks import feature_mlp, keypoint_cnn
from dlp_dyn.particles import Draw, mean, normal

_FIRST_KERNEL = 7  # pixels, of the image's encoder
_GLIMPSE_CHANNELS = (16, 16, 32)
_GLIMPSE_MAPS = 32
Masks = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class KeypointEncoding:
    """What an image is read as. The last row of positions and features is the background's.

    heat_map: the feature map that positions were read from; the masked model decodes its background from it.
    position, features: draws. glimpses: crops of the image (object model) or of the feature map.
    """

    position_posterior: Normal
    features_posterior: Normal
    position: Float[Tensor, "B M 2"]
    features: Float[Tensor, "B M F"]
    transparency: Float[Tensor, "B N 1"]
    heat_map: Float[Tensor, "B N f f"]
    glimpses: Float[Tensor, "B N C S S"]


class Prior(nn.Module):
    """A key point for every patch: the middle of what its small network looks at along either axis."""

    def __init__(self, cfg: KeypointVAEConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.cnn = keypoint_cnn(cfg.proposal_channels, 1)

    def all(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B M 2"]:
        """Every patch's key point, in its patch's [-1, 1]."""
        patches = geometry.patches(images, self.cfg.patch_size)
        heat = self.cnn(patches.flatten(0, 1))[:, 0]
        steps = torch.linspace(-1, 1, heat.shape[-1], device=heat.device, dtype=heat.dtype)
        local = torch.stack([heat.mean(dim).softmax(-1) @ steps for dim in (1, 2)], -1)
        return local.unflatten(0, patches.shape[:2])

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B M 2"]:
        """The proposals farthest from the middle of their patch, in the image's [-1, 1]."""
        local = self.all(images)
        kept = local.square().sum(-1).topk(min(self.cfg.n_proposals, local.shape[1])).indices[..., None]
        return self.in_image(local).take_along_dim(kept, 1)

    def in_image(self, local: Float[Tensor, "B M 2"]) -> Float[Tensor, "B M 2"]:
        return geometry.patch_to_image(local, self.cfg.patch_size, self.cfg.image_size)


class KeypointEncoder(nn.Module):
    """Images -> particles and a background (DLPv1, arXiv 2205.15821, section 4)."""

    def __init__(self, cfg: KeypointVAEConfig) -> None:
        super().__init__()
        self.cfg = cfg
        n, map_numbers = cfg.n_particles, cfg.n_particles * cfg.map_side**2
        self.trunk = keypoint_cnn(cfg.encoder_channels, n, _FIRST_KERNEL)
        self.position = feature_mlp(map_numbers, 4 * n)
        self.background = feature_mlp(map_numbers, 2 * cfg.feature_dim)
        if cfg.decoder == "object":
            self.transparency: nn.Module | None = feature_mlp(map_numbers, n)
            self.glimpse_cnn: nn.Module = keypoint_cnn(_GLIMPSE_CHANNELS, _GLIMPSE_MAPS)
            self.appearance = feature_mlp(_GLIMPSE_MAPS * (cfg.glimpse_size // 4) ** 2, 2 * cfg.feature_dim)
        else:
            self.transparency, self.glimpse_cnn = None, nn.Identity()
            self.appearance = feature_mlp(n * cfg.map_glimpse**2 + 2, 2 * cfg.feature_dim)

    def forward(
        self, images: Float[Tensor, "B 3 H W"], draw: Draw = mean, mask_weights: Masks | None = None
    ) -> KeypointEncoding:
        """mask_weights: boxes and transparency -> what of the image each particle's crop sees; None is its whole box.

        Crops lie at the means of positions, whatever is drawn.
        """
        heat_map = self.trunk(images)
        posterior = self._locate(heat_map)
        position = draw(posterior)
        if self.transparency is None:
            transparency = torch.ones_like(heat_map[:, :, 0, :1])
        else:
            transparency = self.transparency(heat_map.detach().flatten(1)).sigmoid()[..., None]
        middle = posterior.loc[:, :-1]
        glimpses = self._crop(images, heat_map.detach(), middle, transparency, mask_weights)
        appearance = self.glimpse_cnn(glimpses.flatten(0, 1)).flatten(1).unflatten(0, glimpses.shape[:2])
        if self.cfg.decoder == "masked":
            appearance = torch.cat([appearance, middle], -1)
            seen = 1 - self.foreground(gaussian_maps(position[:, :-1], self.cfg))
        else:
            whole = torch.ones_like(middle[..., :1])
            side, canvas = self.cfg.map_glimpse, self.cfg.map_side
            seen = 1 - geometry.box_cover(middle, whole, side, canvas, align_corners=False)
        backdrop = self.background((heat_map.detach() * seen).flatten(1))[:, None]
        features = normal(*torch.cat([self.appearance(appearance), backdrop], 1).chunk(2, -1))
        return KeypointEncoding(
            posterior, features, position, draw(features), transparency, heat_map, glimpses
        )

    def foreground(self, maps: Float[Tensor, "B N f f"]) -> Float[Tensor, "B 1 f f"]:
        """1 where any particle's map is above the threshold, without gradient."""
        return (maps > self.cfg.mask_threshold).any(1, keepdim=True).to(maps.dtype)

    def _locate(self, heat_map: Float[Tensor, "B N f f"]) -> Normal:
        loc, log_variance = self.position(heat_map.flatten(1)).unflatten(1, (-1, 4)).chunk(2, -1)
        particles = normal(loc.tanh(), log_variance)
        middle = torch.zeros_like(loc[:, :1])
        return Normal(
            torch.cat([particles.loc, middle], 1),
            torch.cat([particles.scale, middle + self.cfg.sigma], 1),
            validate_args=False,
        )

    def _crop(
        self,
        images: Tensor,
        heat_map: Tensor,
        position: Tensor,
        transparency: Tensor,
        mask_weights: Masks | None,
    ) -> Float[Tensor, "B N C S S"]:
        """Each particle's box of the image (object model) or of the feature map (masked model)."""
        cfg = self.cfg
        source, side = (images, cfg.glimpse_size) if cfg.decoder == "object" else (heat_map, cfg.map_glimpse)
        canvas = source.shape[-1]
        masks = geometry.boxes(position, side, canvas, align_corners=False)
        if mask_weights is not None:
            masks = mask_weights(masks, transparency)
        own = (source[:, None] * masks[:, :, None]).flatten(0, 1)
        size = torch.full_like(position, side / canvas)
        crops = geometry.crop_glimpses(
            own, position.flatten(0, 1)[:, None], size.flatten(0, 1)[:, None], side, align_corners=False
        )
        return crops[:, 0].unflatten(0, position.shape[:2])


def gaussian_maps(position: Float[Tensor, "B N 2"], cfg: KeypointVAEConfig) -> Float[Tensor, "B N f f"]:
    """A bump of height 1 around each particle."""
    steps = torch.linspace(-1, 1, cfg.map_side, device=position.device, dtype=position.dtype)
    along = (-0.5 * ((steps - position[..., None]) / cfg.sigma).square()).exp()
    return along[:, :, 1, :, None] * along[:, :, 0, None, :]


def exclusive(
    masks: Float[Tensor, "B N H W"], transparency: Float[Tensor, "B N 1"]
) -> Float[Tensor, "B N H W"]:
    """What is left for each particle by those before it; no gradient reaches these."""
    return occupy((masks * transparency[..., None]).clamp(0, 1))


def occupy(shares: Float[Tensor, "B N H W"]) -> Float[Tensor, "B N H W"]:
    """Shares of every pixel in the order of particles: min(1 - those before, own)."""
    taken, given = torch.zeros_like(shares[:, 0]), []
    for share in shares.unbind(1):
        given.append(torch.minimum(1 - taken, share))
        taken = taken + given[-1].detach()
    return torch.stack(given, 1)
