"""Reconstruction errors: squared error, and the perceptual ones that need a pretrained VGG16."""

from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dlp_dyn.nn import pretrained
from dlp_dyn.nn.uncompiled import uncompiled

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_TAPS = (3, 8, 13, 22, 30)  # relu1_2, relu2_2, relu3_2, relu4_3, pool5 of torchvision's `features`
_VGG_WEIGHT = 0.12151  # of feature distances (DDLP, official code)
_LPIPS_WEIGHT = 0.1  # (LPWM, official code)
_INSTEAD = "train with reconstruction=mse"


def reconstruction_error(
    kind: str, target: Float[Tensor, "B 3 H W"], image: Float[Tensor, "B 3 H W"]
) -> Float[Tensor, " B"]:
    """Error of each image in [0, 1], summed over pixels.

    `mse`: squared error. `vgg`: plus distances of VGG16 features (DDLP, arXiv 2306.05957, section 4.1). `raw_vgg`:
    the same of images whose colours are not normalised, in full (DLPv1, official code).
    `lpips`: plus LPIPS, scaled to the number of values (LPWM, official code).
    Raises InputError when pretrained weights are needed and cannot be fetched.
    """
    error = squared_error(target, image)
    if kind == "vgg":
        return error + _VGG_WEIGHT * vgg_distance(target, image)
    if kind == "raw_vgg":
        return error + vgg_distance(target, image, raw=True)
    if kind == "lpips":
        return error + _LPIPS_WEIGHT * target[0].numel() * lpips(target, image)
    return error


def squared_error(target: Float[Tensor, "B C H W"], image: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """Sum of squared differences of each image."""
    return (target - image).square().sum((1, 2, 3))


def glimpse_error(
    kind: str, target: Float[Tensor, "B N 3 S S"], glimpses: Float[Tensor, "B N 3 R R"]
) -> Float[Tensor, " B"]:
    """Mean over particles of the error of each glimpse; small ones are enlarged to 32 for VGG16.

    Glimpses drawn finer than the target are averaged down to it.
    """
    flat_target, flat = target.flatten(0, 1), glimpses.flatten(0, 1)
    if flat.shape[-1] != flat_target.shape[-1]:
        flat = F.interpolate(flat, size=flat_target.shape[-2:], mode="area")
    if kind in ("vgg", "raw_vgg") and flat.shape[-1] < 32:
        flat_target, flat = (
            F.interpolate(x, size=(32, 32), mode="bilinear", align_corners=False) for x in (flat_target, flat)
        )
    return reconstruction_error(kind, flat_target, flat).unflatten(0, target.shape[:2]).mean(1)


@uncompiled  # nothing but convolutions, of a network that is fetched when it is first asked for
def vgg_distance(
    target: Float[Tensor, "B 3 H W"], image: Float[Tensor, "B 3 H W"], raw: bool = False
) -> Float[Tensor, " B"]:
    """Sum of squared differences of VGG16 features at five depths; only `image` gets a gradient.

    raw: of pixels as they are, not shifted and scaled to what the network was trained on.

    Under autocast both images' features are in its precision, and their squares are summed in float32.
    """
    network = _vgg16(image.device)
    with torch.no_grad():
        expected = network(target, raw)
    return torch.stack(
        [(a - b).float().square().sum((1, 2, 3)) for a, b in zip(expected, network(image, raw), strict=True)]
    ).sum(0)


@uncompiled
def lpips(target: Float[Tensor, "B 3 H W"], image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, " B"]:
    """LPIPS with VGG16 of each image in [0, 1]."""
    network = _lpips(image.device)
    return network(2 * target - 1, 2 * image - 1).flatten()


class _Features(nn.Module):
    """What VGG16 makes of images in [0, 1] at the depths `_TAPS`."""

    mean: Tensor
    std: Tensor

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_STD)[:, None, None])

    def forward(self, images: Float[Tensor, "B 3 H W"], raw: bool = False) -> list[Tensor]:
        x, taps = images if raw else (images - self.mean) / self.std, []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in _TAPS:
                taps.append(x)
        return taps


@cache
def _vgg16(device: torch.device) -> nn.Module:
    features = _Features(pretrained.vgg16_features(_INSTEAD)).to(device)
    return features.to(memory_format=torch.channels_last)


@cache
def _lpips(device: torch.device) -> nn.Module:
    return pretrained.lpips("vgg", _INSTEAD).to(device)
