"""Strategies of tracking: each turns a clip into particles that keep their slots."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.encoder import STANDARD, EncodeOptions, Encoding, SceneEncoder
from dlp_dyn.particles import Draw, mean
from dlp_dyn.tracking.config import TrackingConfig
from dlp_dyn.tracking.grid import Grid
from dlp_dyn.tracking.matching import Matcher
from dlp_dyn.tracking.state import State
from dlp_dyn.tracking.tracker import Tracker


@runtime_checkable
class Tracking(Protocol):
    """One strategy.

    The state carries everything that later frames depend on, so a clip may be given whole or frame by frame.
    """

    def encode(
        self,
        encoder: SceneEncoder,
        video: Float[Tensor, "B T C H W"],
        draw: Draw = mean,
        options: EncodeOptions = STANDARD,
        state: State = None,
    ) -> tuple[Encoding, State]: ...


def build_tracking(cfg: TrackingConfig, image: DLPConfig) -> Tracking:
    """The strategy that a config names. Raises InputError for one that the image model does not allow."""
    cfg.check(image)
    if cfg.kind == "tracker":
        return Tracker(cfg.static_frames)
    if cfg.kind == "grid":
        return Grid()
    return Matcher(cfg.patience, cfg.reach)
