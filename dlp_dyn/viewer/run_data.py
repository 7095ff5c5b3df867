"""The data that comes to mind with a run: the clips that it was shared with, or what it was trained on."""

from pathlib import Path

from dlp_dyn.config import DataConfig
from dlp_dyn.data.synthetic import local_file
from dlp_dyn.errors import InputError
from dlp_dyn.image.config import DLPConfig
from dlp_dyn.settings import has_section, read_section
from dlp_dyn.sharing.locate import CONFIG, resolve

CLIPS = "clips.h5"


def data_of(run: str | Path) -> Path:
    """A rollout file, or a folder of them, that fits a run.

    Raises InputError where none is known or it is not there any more.
    """
    checkpoint = resolve(run)
    if (checkpoint / CLIPS).is_file():
        return checkpoint / CLIPS
    file = checkpoint / CONFIG
    if not has_section(file, "data"):
        raise InputError(f"{checkpoint}: does not say what it was trained on; give a file of data")
    side = read_section(file, "model", DLPConfig).image_size
    path = local_file(read_section(file, "data", DataConfig).path, side)
    if not path.exists():
        raise InputError(f"{checkpoint}: trained on {path}, which is not there; give a file of data")
    return path
