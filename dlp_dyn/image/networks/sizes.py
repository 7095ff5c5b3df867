"""What a style refuses: sizes that its layers cannot make, with a remedy, and options that it does not have."""

import math

from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig


def refuse_lean_options(cfg: DLPConfig) -> None:
    """Raise InputError for options that only the lean style has."""
    if cfg.reference != "none" or cfg.encoder.merge:
        option = "encoder.merge" if cfg.encoder.merge else f"reference={cfg.reference}"
        raise InputError(f"model.{option} needs model.networks.style=lean")


def doublings(start: int, end: int) -> int:
    """How often `start` doubles to `end`."""
    times = round(math.log2(end / start))
    assert start * 2**times == end, f"{end} is not {start} doubled"
    return times


def check_least_glimpse(cfg: DLPConfig, least: int) -> None:
    """Raise InputError for glimpses of fewer than `least` pixels."""
    if cfg.glimpse_size < least:
        raise InputError(
            f"{_glimpses(cfg)}, {least} are the least: "
            f"add model.glimpse_fraction={least / (cfg.image_size - 1):.3g}"
        )


def check_doubled_glimpse(cfg: DLPConfig, start: int, remedy: str | None = None) -> None:
    """Raise InputError for glimpses that are not `start` doubled a few times."""
    times = math.log2(max(cfg.glimpse_size / start, 0.5))
    if not times.is_integer() or times < 0:
        remedy = remedy or f"add model.networks.glimpse_start={_undoubled(cfg.glimpse_size)}"
        raise InputError(f"{_glimpses(cfg)}, which is not {start} doubled a few times: {remedy}")


def check_background_map(cfg: DLPConfig, ups: int, last_up_is_free: bool) -> None:
    """Raise InputError for images that are not drawn from the map of `background_start`.

    ups: factor of all steps up, of the fixed ones where the last is free.
    """
    side, start = cfg.image_size, cfg.networks.background_start
    if side % (ups * start) or not (last_up_is_free or side == ups * start):
        whole = side // ups
        fitting = next(d for d in range(8, 0, -1) if whole % d == 0) if last_up_is_free else whole
        raise InputError(
            f"model.image_size={side} is not drawn from a map of {start}: "
            f"add model.networks.background_start={fitting}"
        )


def check_image_token(cfg: DLPConfig, cells: int) -> None:
    """Raise InputError where interaction cannot share its width among the cells that an image is read into."""
    n = cfg.networks
    if cfg.encoder.interaction and n.hidden_dim % max(cells, 1):
        raise InputError(
            f"model.networks.hidden_dim={n.hidden_dim} is not a multiple of {cells}, the cells that "
            f"{len(n.background_channels)} background layers make of model.image_size={cfg.image_size}: "
            f"add model.networks.hidden_dim={cells * (n.hidden_dim // cells + 1)}"
        )


def _glimpses(cfg: DLPConfig) -> str:
    return (
        f"model.glimpse_fraction={cfg.glimpse_fraction} of model.image_size={cfg.image_size} makes glimpses of "
        f"{cfg.glimpse_size} pixels"
    )


def _undoubled(side: int) -> int:
    """The smallest side, from 3 on, that gives this one by doubling."""
    while side % 2 == 0 and side >= 6:
        side //= 2
    return side
