"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""


class InputError(ValueError):
    """Raised at the edges for bad files, settings or data.

    The message is a single line: what is wrong, where, and what to do about it. The command line prints that
    line without a traceback and leaves with exit code 2.
    """
