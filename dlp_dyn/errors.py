"""The exception that means "the input is wrong", as opposed to "the program is wrong"."""


class InputError(ValueError):
    """Raised at the edges for bad files, settings or data.

    The message is a single line: what is wrong, where, and what to do about it. The command line prints that
    line without a traceback and leaves with exit code 2.
    """


def of_system(error: OSError) -> str:
    """What the system says of a file, in a line: that its name is too long, or that it may not be read."""
    name = "" if error.filename is None else f"{str(error.filename)[:200]}: "
    return " ".join(f"{name}{error.strerror or error}".split())
