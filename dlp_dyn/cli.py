"""The command line: `dlp-dyn VERB ...`. `dlp_dyn.commands` does what is asked."""

import os
import signal
import sys
from collections.abc import Sequence

from dlp_dyn.commands.parser import parser
from dlp_dyn.commands.terminal import check_here, print_any_name
from dlp_dyn.commands.writing import refuse_source
from dlp_dyn.errors import InputError, of_system
from dlp_dyn.training.interrupt import Interrupted


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 bad input (one line on standard error), 128 + signal after an interrupt."""
    print_any_name()
    args = parser().parse_args(argv)
    try:
        check_here()
        refuse_source(args)
        args.run(args)
    except InputError as error:
        print(f"dlp-dyn: error: {error}", file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        print(f"dlp-dyn: {interrupted}", file=sys.stderr)
        return 128 + interrupted.signum
    except BrokenPipeError:  # who reads the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        print(f"dlp-dyn: error: {of_system(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dlp-dyn: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
