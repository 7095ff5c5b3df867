"""A picture's own blur, which stands in for a background where the camera moves."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_CELLS = 8  # along a side


def blur(images: Float[Tensor, "B C S S"]) -> Float[Tensor, "B C S S"]:
    """What a coarse background can draw of each picture: a few cells a side, smooth between them."""
    return F.interpolate(
        F.adaptive_avg_pool2d(images, _CELLS), images.shape[-2:], mode="bilinear", align_corners=False
    )
