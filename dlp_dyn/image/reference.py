"""What pictures are compared with: the median frame of a fixed camera, or a picture's own blur."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from dlp_dyn.geometry.blur import blur
from dlp_dyn.image.attributes import Attributes
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.particles import beta

_LEAST_WINDOW, _COLOUR_WINDOW = 5, 3  # pixels
_STEPS = 3  # of the mean shift
_FAINT = 0.1  # differences below this say little of a colour
_LEAST_ENERGY = 1e-3  # of pixels that say where a thing is
_OFF = (1e-4, 100.0)  # parameters of a transparency that is surely 0


class Reference(nn.Module):
    """Pictures in, pictures and their difference from the reference out; where the difference is large is evidence.

    picture: the median frame, (3, S, S) in [0, 1]; of no use with the blur.
    """

    picture: Tensor

    def __init__(self, cfg: DLPConfig) -> None:
        super().__init__()
        self.fixed = cfg.reference == "median"
        self.window = max(
            int(cfg.min_distance * cfg.image_size / 2) // 2 * 2 + 1, _LEAST_WINDOW
        )  # pixels; odd
        self.register_buffer("picture", torch.zeros(3, cfg.image_size, cfg.image_size))

    def difference(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 3 S S"]:
        return images - (self.picture if self.fixed else blur(images))

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B 6 S S"]:
        return torch.cat([images, self.difference(images)], 1)

    @torch.no_grad()
    def evidence(
        self, seen: Float[Tensor, "B 6 S S"], position: Float[Tensor, "B M 2"]
    ) -> Float[Tensor, "B M"]:
        """Logarithm of the squared difference in a window around each position."""
        energy = seen[:, 3:].square().sum(1, keepdim=True)
        return (self.near(energy, position)[:, 0] + 1e-4).log()

    @torch.no_grad()
    def colour(
        self, seen: Float[Tensor, "B 6 S S"], position: Float[Tensor, "B M 2"]
    ) -> Float[Tensor, "B M 3"]:
        """Mean colour right at each position, where pixels count as much as they differ from the reference."""
        image, difference = seen.chunk(2, 1)
        energy = difference.square().sum(1, keepdim=True)
        found = self.near(torch.cat([energy, image * energy], 1), position, _COLOUR_WINDOW)
        return (found[:, 1:] / (found[:, :1] + 1e-6)).mT

    @torch.no_grad()
    def mean_shift(
        self,
        seen: Float[Tensor, "B 6 S S"],
        position: Float[Tensor, "B M 2"],
        colour: Float[Tensor, "B M 3"],
        like: float,
        window: int,
    ) -> tuple[Float[Tensor, "B M 2"], Float[Tensor, "B M 3"]]:
        """Positions and colours moved to the mean of the pixels about them that are of their colour.

        Pixels count as much as they differ from the reference, and less the farther their colour is from any mixture
        of the reference with this one, by a Gaussian of width `like` of their difference: the edges of a thing are
        such mixtures.
        window: side of what is about a position, in pixels.
        """
        side = seen.shape[-1] - 1
        line = (2 * torch.arange(window, device=seen.device, dtype=seen.dtype) - (window - 1)) / side
        grid = torch.cartesian_prod(line, line)
        for _ in range(_STEPS):
            at = position[:, :, None] + grid
            image, difference = F.grid_sample(seen, at, align_corners=True, padding_mode="zeros").chunk(2, 1)
            # What a pixel that is all of this colour would differ by, and how much of it each pixel shows.
            full = colour.mT[..., None] - (image - difference)
            share = (difference * full).sum(1).clamp_min(0) / (full.square().sum(1) + 1e-6)
            energy = difference.square().sum(1)
            apart = (difference - share[:, None] * full).square().sum(1) / (energy + _FAINT**2)
            weight = (apart / (-2 * like**2)).exp() * energy
            position = position + weight @ grid / weight.sum(-1, keepdim=True).clamp_min(_LEAST_ENERGY)
            weight = weight * energy  # the edges say less of the colour than of the place
            total = weight.sum(-1, keepdim=True)
            mean = (weight[:, None] * image).sum(-1).mT / total
            colour = torch.where(total > _LEAST_ENERGY**2, mean, colour)
        return position, colour

    def near(
        self, maps: Float[Tensor, "B C S S"], position: Float[Tensor, "B M 2"], window: int = 0
    ) -> Float[Tensor, "B C M"]:
        """Mean of maps in a window around each position; 0 is that of the evidence."""
        side = window or self.window
        pooled = F.avg_pool2d(maps, side, 1, side // 2)
        return F.grid_sample(pooled, position[:, :, None], align_corners=True, padding_mode="border")[..., 0]


@torch.no_grad()
def meet(
    position: Float[Tensor, "B N 2"],
    size: Float[Tensor, "B N 2"],
    colour: Float[Tensor, "B N 3"],
    like: float,
    share: float,
) -> Bool[Tensor, "B N N"]:
    """Whether two particles, of sides `size` in shares of the image, draw parts of one thing: their colours differ by
    less than `like` and their boxes have more than `share` of the smaller one in common."""
    sides = 2 * size[:, :, None], 2 * size[:, None]
    gap = (position[:, :, None] - position[:, None]).abs()
    common = (sides[0] + sides[1]).div(2).sub(gap).clamp_min(0).minimum(torch.minimum(*sides)).prod(-1)
    least = torch.minimum(sides[0].prod(-1), sides[1].prod(-1))
    return (common > share * least) & (torch.cdist(colour, colour) < like)


def merge_met(
    anchors: Float[Tensor, "B N 2"],
    attributes: Attributes,
    distance: float,
    also: Bool[Tensor, "B N N"] | None = None,
) -> Attributes:
    """Of visible particles that lie nearer than this, only the one with the most evidence (the first) stays on.

    also: pairs that are one however far they are from each other.
    """
    t = attributes.transparency
    with torch.no_grad():
        position = anchors + attributes.offset.loc
        on = t.concentration1 > t.concentration0
        near = torch.cdist(position, position) < distance
        near = (near if also is None else near | also) & on & on.mT
        stays = torch.ones_like(position[..., 0], dtype=torch.bool)
        for i in range(1, position.shape[1]):
            stays[:, i] = ~(near[:, i, :i] & stays[:, :i]).any(1)
    a = torch.where(stays[..., None], t.concentration1, _OFF[0])
    b = torch.where(stays[..., None], t.concentration0, _OFF[1])
    return replace(attributes, transparency=beta(a, b))
