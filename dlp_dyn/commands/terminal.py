"""What is printed for people."""

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def print_any_name() -> None:
    """From here on the names of files that are no UTF-8 are printed, as the bytes that they are."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")


def console() -> "Console":
    """The terminal, or room enough for a table where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=120)
