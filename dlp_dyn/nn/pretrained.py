"""Networks that were trained on ImageNet: VGG16's features, and LPIPS. Their weights are fetched on first use."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Literal

import torch
from torch import nn

from dlp_dyn.errors import InputError
from dlp_dyn.nn import private

_FILES = {"vgg": ("VGG16", "VGG16_Weights"), "alex": ("AlexNet", "AlexNet_Weights")}


def vgg16_features(instead: str) -> nn.Sequential:
    """The convolutions of torchvision's VGG16, none of which changes its input in place; frozen.

    instead: what a user without the weights may do. Raises InputError when they are neither cached nor to be had.
    """
    # torchvision and torchmetrics take seconds to import, and most trainings have no use for them.
    from torchvision.models import VGG16_Weights, vgg16

    layers = _fetched(lambda: vgg16(weights=VGG16_Weights.IMAGENET1K_V1).features, "vgg", instead)
    assert isinstance(layers, nn.Sequential)
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return layers


def lpips(backbone: Literal["vgg", "alex"], instead: str) -> nn.Module:
    """LPIPS (Zhang et al. 2018, arXiv 1801.03924) of pairs of images, on VGG16 or AlexNet; frozen.

    instead: what a user without the weights may do. Raises InputError when they are neither cached nor to be had.
    """
    return _fetched(lambda: private.lpips(backbone), backbone, instead)


def _fetched(build: Callable[[], nn.Module], backbone: Literal["vgg", "alex"], instead: str) -> nn.Module:
    from torchvision import models

    try:
        network = build()
    except (OSError, RuntimeError) as error:  # no network, or a file that is not what it should be
        name, weights = _FILES[backbone]
        file = PurePosixPath(getattr(models, weights).IMAGENET1K_V1.url).name
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"the {name} weights of torchvision could not be fetched ({reason}); {instead}, "
            f"or put {file} into {torch.hub.get_dir()}/checkpoints"
        ) from error
    return network.eval().requires_grad_(False)
