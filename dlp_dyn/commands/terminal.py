"""What is printed for people."""

import codecs
import io
import os
import sys
from typing import TYPE_CHECKING

from dlp_dyn.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


def print_any_name() -> None:
    """From here on everything can be printed, whoever listens.

    Names of files that are no UTF-8 are printed as the bytes that they are, what a terminal lacks as question marks;
    streams that are closed take it.
    """
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    codecs.register_error("any name", _encoded)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="any name")


def _encoded(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    character = error.object[error.start]
    byte = ord(character) - 0xDC00  # as `surrogateescape` keeps it
    return bytes([byte]) if 0x80 <= byte <= 0xFF else "?", error.start + 1


def check_here() -> None:
    """InputError where the working folder was removed: MKL would end the process in words of its own."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InputError("the working folder is gone; change into another one") from None


def console() -> "Console":
    """The terminal, or room enough for a table where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=120)
