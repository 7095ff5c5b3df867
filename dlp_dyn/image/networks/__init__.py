"""The layers of the image model, a class a style."""

from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.image.networks.base import Networks
from dlp_dyn.image.networks.dlpv2 import DLPv2Networks
from dlp_dyn.image.networks.dlpv3 import DLPv3Networks
from dlp_dyn.image.networks.lean import LeanNetworks

_STYLES: dict[str, type[Networks]] = {"lean": LeanNetworks, "dlpv2": DLPv2Networks, "dlpv3": DLPv3Networks}


def build_networks(cfg: DLPConfig) -> Networks:
    """The style that a config names. Raises InputError for values that no model can be built from."""
    cfg.check()
    style = cfg.networks.style
    if style not in _STYLES:
        raise InputError(f"model.networks.style={style!r} is unknown: use one of {', '.join(_STYLES)}")
    networks = _STYLES[style](cfg)
    networks.check()
    return networks
