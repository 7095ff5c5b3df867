"""Where `dlp_dyn.plotting.pictures` was in 0.1: its names are found here until 0.3, with a warning."""

import warnings
from typing import Any

from dlp_dyn.plotting import pictures


def __getattr__(name: str) -> Any:
    value = getattr(pictures, name)
    warnings.warn(f"dlp_dyn.plots.{name} is dlp_dyn.plotting.pictures.{name} now", DeprecationWarning, 2)
    return value
