"""Settings of tracking."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.settings import Count, above, at_least, check, has_section, read_section


@dataclass(frozen=True)
class TrackingConfig:
    """Which particle is which over time."""

    kind: Literal["match", "tracker", "grid"] = "match"
    """match carries slots from frame to frame with any image model; tracker is DDLP's and is
    trained on clips; grid is LPWM's, a slot a patch, with the confidence selection only."""
    static_frames: Count = 4
    """First frames of a clip that keep the constant priors; of the others the dynamics are the prior."""
    patience: Annotated[int, at_least(0, "frames")] = 5
    """How long match keeps an object that it does not see."""
    reach: Annotated[float, above(0, "in [-1, 1] units")] = 0.4
    """How far from where it is expected match looks for an object."""

    def check(self, image: DLPConfig) -> None:
        """Raise InputError for values that do not fit each other or the image model."""
        check(self, "tracking")
        if self.kind == "grid" and image.encoder.early:
            raise InputError(
                "tracking.kind=grid makes every patch a particle: it needs model.encoder.selection=confidence"
            )


def read_tracking(file: Path) -> TrackingConfig:
    """The section of a run's config file, which version 1 called `identity`; defaults where there is none."""
    for section in ("tracking", "identity"):
        if has_section(file, section):
            return read_section(file, section, TrackingConfig)
    return TrackingConfig()
