"""Which model a config describes."""

from dlp_dyn.soft_intro.config import SoftIntroConfig
from dlp_dyn.soft_intro.densities import DensityVAE
from dlp_dyn.soft_intro.images import ImageVAE
from dlp_dyn.soft_intro.model import IntroVAE
from dlp_dyn.soft_intro.point_clouds import PointCloudVAE
from dlp_dyn.soft_intro.style import StyleVAE


def build(cfg: SoftIntroConfig) -> IntroVAE:
    """With random weights."""
    if cfg.densities is not None:
        return DensityVAE(cfg, cfg.densities)
    if cfg.images is not None:
        return ImageVAE(cfg, cfg.images)
    if cfg.point_clouds is not None:
        return PointCloudVAE(cfg, cfg.point_clouds)
    assert cfg.style is not None
    return StyleVAE(cfg, cfg.style)
