"""Rollout files -> data sets of other tools: one file a format."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from dlp_dyn.data.writers.base import Append, Source
from dlp_dyn.data.writers.lerobot import write_lerobot
from dlp_dyn.data.writers.minari import write_minari
from dlp_dyn.data.writers.worldmodel import write_worldmodel

FORMATS: dict[str, Callable[[Source], AbstractContextManager[Append]]] = {
    "lerobot": write_lerobot,
    "minari": write_minari,
    "worldmodel": write_worldmodel,
}
