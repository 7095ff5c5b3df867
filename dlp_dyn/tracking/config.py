"""Settings of tracking."""

from dataclasses import dataclass

from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig


@dataclass(frozen=True)
class TrackingConfig:
    """Which particle is which over time."""

    kind: str = "match"
    """match, tracker or grid: match carries slots from frame to frame with any image model; tracker is DDLP's and is
    trained on clips; grid is LPWM's, a slot a patch, with the confidence selection only."""
    static_frames: int = 4
    """1 or more: first frames of a clip that keep the constant priors; of the others the dynamics are the prior."""
    patience: int = 5
    """0 or more frames: how long match keeps an object that it does not see."""
    reach: float = 0.4
    """above 0, in [-1, 1] units: how far from where it is expected match looks for an object."""

    def check(self, image: DLPConfig) -> None:
        """Raise InputError for values that do not fit each other or the image model."""
        if self.kind not in ("tracker", "grid", "match"):
            raise InputError(f"identity.kind={self.kind!r} is unknown: use one of tracker, grid, match")
        if self.static_frames < 1:
            raise InputError(
                f"identity.static_frames={self.static_frames}: the first frame needs one; give 1 or more"
            )
        if self.kind == "grid" and image.encoder.early:
            raise InputError(
                "identity.kind=grid makes every patch a particle: it needs model.encoder.selection=confidence"
            )
