"""Fréchet video distance (FVD, Unterthiner et al. 2018): how far apart the features of two sets of clips are."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dlp_dyn.errors import InputError

_SIDE = 224  # pixels that the network was trained on
_AT_ONCE = 4  # clips
_FEWEST = 2  # clips that have a covariance


class ClipFeatures:
    """The user's network on clips: TorchScript, as the I3D that FVD is usually measured with (`i3d_torchscript.pt`).

    It is called as `network(clips, rescale=False, resize=False, return_features=True)`, clips (B, 3, T, 224, 224) in
    [-1, 1], and gives (B, D).
    Raises InputError for a file that is missing, is no TorchScript, or does not work like that.
    """

    def __init__(self, file: str | Path, device: str = "cpu") -> None:
        self.file = Path(file)
        if not self.file.is_file():
            raise InputError(
                f"{file}: no such file; fvd wants a TorchScript network, such as i3d_torchscript.pt; leave it out "
                "to do without"
            )
        try:
            self.network = torch.jit.load(str(self.file), map_location=device).eval()
        except RuntimeError as error:
            raise InputError(f"{file}: not readable as TorchScript ({_last_line(error)})") from error

    @torch.no_grad()
    def __call__(self, video: Float[Tensor, "B T 3 H W"]) -> Float[np.ndarray, "B D"]:
        """Features of clips with pixels in [0, 1]."""
        features = []
        for clips in video.split(_AT_ONCE):
            images = clips.clamp(0, 1).flatten(0, 1)
            images = F.interpolate(images, (_SIDE, _SIDE), mode="bilinear", align_corners=False)
            given = (2 * images - 1).unflatten(0, clips.shape[:2]).transpose(1, 2)
            try:
                found = self.network(given, rescale=False, resize=False, return_features=True)
            except (RuntimeError, TypeError) as error:
                raise InputError(
                    f"{self.file}: does not take clips of {clips.shape[1]} frames ({_last_line(error)}); I3D needs "
                    "10 or more: raise horizon, or give another network"
                ) from error
            if not isinstance(found, Tensor) or found.shape[:1] != clips.shape[:1] or found.ndim != 2:
                shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
                raise InputError(
                    f"{self.file}: gives {shape} for {len(clips)} clips, expected (clips, features): "
                    "it is no network for the Fréchet video distance"
                )
            features.append(found.double().cpu().numpy())
        return np.concatenate(features)


def frechet_distance(a: Float[np.ndarray, "N D"], b: Float[np.ndarray, "M D"]) -> float:
    """Squared distance of two normal distributions with the samples' means and covariances, 2 samples each at least.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)). With samples X, centred and divided by sqrt(n - 1), C is
    X^T X, and the trace of the root is the sum of the singular values of X_a X_b^T: exact for fewer samples than
    features too, where covariances are singular. Small samples overestimate it: compare only equal numbers of clips.
    Raises InputError for fewer samples.
    """
    if min(len(a), len(b)) < _FEWEST:
        raise InputError(
            "fvd compares distributions: it needs 2 episodes at least, and hundreds to mean something"
        )
    mean_gap = a.mean(0) - b.mean(0)
    x, y = ((f - f.mean(0)) / np.sqrt(len(f) - 1) for f in (a, b))
    shared = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(max((mean_gap**2).sum() + (x**2).sum() + (y**2).sum() - 2 * shared, 0.0))


def _last_line(error: Exception) -> str:
    """TorchScript's errors are long, and end with the reason."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
