"""What the commands of agents have in common: bad input is one line and exit code 2."""

import argparse
import sys
from collections.abc import Callable, Sequence

from dlp_dyn.commands.terminal import check_here, print_any_name
from dlp_dyn.errors import InputError, of_system
from dlp_dyn.training.interrupt import Interrupted


def run_command(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], None],
    argv: Sequence[str] | None,
) -> int:
    """Exit codes as those of `dlp-dyn`: 0 done, 2 bad input, 128 + signal after an interrupt."""
    print_any_name()
    args = parser.parse_args(argv)
    try:
        check_here()
        run(args)
    except InputError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        print(f"{parser.prog}: {interrupted}", file=sys.stderr)
        return 128 + interrupted.signum
    except OSError as error:
        print(f"{parser.prog}: error: {of_system(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    return 0
