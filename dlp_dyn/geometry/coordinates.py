"""Pixels and positions, patches of an image, and where a heat map has its mass."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def to_pixel(position: Tensor, side: int) -> Tensor:
    """[-1, 1] to pixel indices in [0, side - 1]."""
    return (position + 1) * (0.5 * (side - 1))


def to_unit(pixel: Tensor, side: int) -> Tensor:
    """Pixel indices in [0, side - 1] to [-1, 1]."""
    return pixel * (2 / (side - 1)) - 1


def patches(images: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B M C P P"]:
    """Non-overlapping patches in row-major order."""
    return rearrange(images, "b c (i p) (j q) -> b (i j) c p q", p=side, q=side)


def patch_to_image(local: Float[Tensor, "B M 2"], patch_side: int, image_side: int) -> Float[Tensor, "B M 2"]:
    """Positions inside each patch ([-1, 1] across the patch) to positions in the image."""
    per_row = image_side // patch_side
    index = torch.arange(per_row, device=local.device) * patch_side
    origin = torch.stack(torch.meshgrid(index, index, indexing="xy"), -1).reshape(-1, 2)
    return to_unit(to_pixel(local, patch_side) + origin, image_side)


def patch_centres(image_side: int, patch_side: int) -> Float[Tensor, "M 2"]:
    """Where pixel `patch_side // 2` of every patch lies, half a pixel beyond the middle where the side is even."""
    local = torch.full((1, (image_side // patch_side) ** 2, 2), float(patch_side // 2))
    return patch_to_image(to_unit(local, patch_side), patch_side, image_side)[0]


def spatial_softmax(
    logits: Float[Tensor, "*B h w"],
) -> tuple[Float[Tensor, "*B 2"], Float[Tensor, "*B 3"]]:
    """Mean position of a softmax over a map, and its (var_x, var_y, cov_xy), in units of half the map's side."""
    h, w = logits.shape[-2:]
    probability = logits.float().flatten(-2).softmax(-1).unflatten(-1, (h, w))
    x = torch.linspace(-1, 1, w, device=logits.device)
    y = torch.linspace(-1, 1, h, device=logits.device)
    along_x, along_y = probability.sum(-2), probability.sum(-1)
    mean_x, mean_y = along_x @ x, along_y @ y
    var_x = (along_x @ x.square() - mean_x.square()).clamp_min(1e-6)
    var_y = (along_y @ y.square() - mean_y.square()).clamp_min(1e-6)
    cov = (probability @ x) @ y - mean_x * mean_y
    return torch.stack([mean_x, mean_y], -1), torch.stack([var_x, var_y, cov], -1)
