"""Which model a config describes."""

from pathlib import Path

import torch

from dlp_dyn.settings import has_section
from dlp_dyn.sharing.locate import CONFIG, resolve
from dlp_dyn.soft_intro.config import SoftIntroConfig
from dlp_dyn.soft_intro.densities import DensityVAE
from dlp_dyn.soft_intro.images import ImageVAE
from dlp_dyn.soft_intro.model import IntroVAE, read_config
from dlp_dyn.soft_intro.point_clouds import PointCloudVAE
from dlp_dyn.soft_intro.style import StyleVAE
from dlp_dyn.soft_intro.translation import TranslationVAE


def family(cfg: SoftIntroConfig) -> type[IntroVAE]:
    """The class of a config's models."""
    if cfg.densities is not None:
        return DensityVAE
    if cfg.images is not None:
        return ImageVAE
    if cfg.translation is not None:
        return TranslationVAE
    return PointCloudVAE if cfg.point_clouds is not None else StyleVAE


def build(cfg: SoftIntroConfig) -> IntroVAE:
    """With random weights."""
    return family(cfg).build(cfg)


def is_intro(run: str | Path) -> bool:
    """Whether a run is of a Soft-IntroVAE."""
    return has_section(resolve(run) / CONFIG, "soft_intro")


def load(run: str | Path, device: torch.device | str = "cpu") -> IntroVAE:
    """The model of a run folder, a checkpoint folder or a Hub id, in eval mode.

    Raises InputError where there is none.
    """
    folder = resolve(run)
    return family(read_config(folder / CONFIG)).from_pretrained(folder, device=device)
