"""What is printed for people."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console() -> "Console":
    """The terminal, or room enough for a table where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=120)
