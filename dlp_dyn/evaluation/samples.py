"""How much samples of images are like data: distances of features, and sharpness."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.errors import InputError
from dlp_dyn.evaluation.frechet import frechet_distance

_WIDTHS = (32, 64, 128)  # of random features
_AT_ONCE = 64  # images
_SIDE = 299  # pixels that Inception takes


@torch.no_grad()
def random_features(images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D"]:
    """Of a fixed network of random convolutions: mean and spread of every map. Nothing to download; coarse."""
    g = torch.Generator().manual_seed(0)
    kernels, width = [], 3
    for after in _WIDTHS:
        kernels.append(torch.randn(after, width, 4, 4, generator=g) / (4 * width**0.5))
        width = after
    rows = []
    for x in images.split(_AT_ONCE):
        found = []
        for kernel in kernels:
            if min(x.shape[-2:]) < 2:  # pictures of a few pixels are read to their end
                break
            x = F.leaky_relu(F.conv2d(x, kernel.to(x), stride=2, padding=1), 0.2)
            found += [x.mean((2, 3)), x.std((2, 3), correction=0)]
        rows.append(torch.cat(found, 1))
    return torch.cat(rows)


def kernel_distance(a: Float[Tensor, "A D"], b: Float[Tensor, "B D"]) -> float:
    """Squared maximum mean discrepancy with the kernel (x y / D + 1)^3 of KID, without bias: 0 for one distribution.

    Features are divided by the spread of `a` first. Source: Binkowski et al., Demystifying MMD GANs, 2018.
    """
    centre, spread = a.mean(0), a.std(0).clamp_min(1e-6)
    a, b = ((x.double() - centre) / spread for x in (a, b))

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * kernel(a, b).mean())


def gradient_energy(images: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """Mean squared difference of neighbouring pixels: low where pictures are blurred."""
    dx, dy = images.diff(dim=-1), images.diff(dim=-2)
    return dx.square().mean((1, 2, 3)) + dy.square().mean((1, 2, 3))


def sample_figures(real: Float[Tensor, "B C H W"], fake: Float[Tensor, "A C H W"]) -> dict[str, float]:
    """kernel_distance of random features, and sharpness: gradient energy of samples over that of data."""
    real, fake = (x.clamp(0, 1).expand(-1, 3, -1, -1) for x in (real, fake))
    return {
        "kernel_distance": kernel_distance(random_features(real), random_features(fake)),
        "sharpness": float(gradient_energy(fake).mean() / gradient_energy(real).mean()),
    }


@torch.no_grad()
def frechet_inception_distance(
    real: Float[Tensor, "A 3 H W"], fake: Float[Tensor, "B 3 H W"], file: str | Path, device: str = "cpu"
) -> float:
    """FID with the user's network: TorchScript, called with images (B, 3, 299, 299) in [-1, 1], gives (B, D).

    In eval mode: the published figures of Soft-IntroVAE are not, and cannot be compared. Small samples overestimate it.
    Raises InputError for a file that is missing, no TorchScript, or gives something else.
    """
    if not Path(file).is_file():
        raise InputError(f"{file}: no such file; give a TorchScript network that turns images into features")
    try:
        network = torch.jit.load(str(file), map_location=device).eval()
    except RuntimeError as error:
        raise InputError(f"{file}: not readable as TorchScript; export it with torch.jit.trace") from error

    def features(images: Tensor) -> np.ndarray:
        rows = []
        for part in images.clamp(0, 1).to(device).split(_AT_ONCE):
            x = F.interpolate(part, (_SIDE, _SIDE), mode="bilinear", align_corners=False)
            found = network(2 * x - 1)
            if not isinstance(found, Tensor) or found.shape[:1] != x.shape[:1] or found.ndim != 2:
                raise InputError(f"{file}: gives no (images, features): it is no network for FID")
            rows.append(found.double().cpu().numpy())
        return np.concatenate(rows)

    return frechet_distance(features(real), features(fake))
