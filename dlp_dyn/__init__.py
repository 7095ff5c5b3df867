"""Deep Latent Particles: images as particles, how they move, and agents that observe them.

The names below are imported when they are first used, so that `import dlp_dyn` loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlp_dyn.checkpoint import load
    from dlp_dyn.data.rollouts import Rollouts
    from dlp_dyn.image.model import DLP
    from dlp_dyn.observation import ParticleEncoder, ParticleObservation
    from dlp_dyn.video import VideoModel

__version__ = "0.2.0"

__all__ = ["DLP", "ParticleEncoder", "ParticleObservation", "Rollouts", "VideoModel", "load"]

_HOMES = {
    "DLP": "dlp_dyn.image.model",
    "ParticleEncoder": "dlp_dyn.observation",
    "ParticleObservation": "dlp_dyn.observation",
    "Rollouts": "dlp_dyn.data.rollouts",
    "VideoModel": "dlp_dyn.video",
    "load": "dlp_dyn.checkpoint",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
