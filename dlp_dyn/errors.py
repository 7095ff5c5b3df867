"""The exception that means "the input is wrong", as opposed to "the program is wrong"."""

import pickle
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

# What reading raises for bytes that nobody wrote so: noise can be taken for any opcode of a pickle.
DAMAGED = (
    RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ImportError, struct.error,
    pickle.UnpicklingError, BadZipFile,
)  # fmt: skip


class InputError(ValueError):
    """Raised at the edges for bad files, settings or data.

    The message is a single line: what is wrong, where, and what to do about it. The command line prints that
    line without a traceback and leaves with exit code 2.
    """


def of_system(error: OSError) -> str:
    """What the system says of a file, in a line: that its name is too long, or that it may not be read."""
    name = "" if error.filename is None else f"{str(error.filename)[:200]}: "
    return " ".join(f"{name}{error.strerror or error}".split())


@contextmanager
def reading(file: Path, fault: str, remedy: str, *more: type[Exception]) -> Iterator[None]:
    """InputError, `FILE: FAULT (reason); REMEDY`, where a file is not what it should be. more: what else it raises."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{file}: no such file; {remedy}") from None
    except (*DAMAGED, *more) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{file}: {fault} ({reason}); {remedy}") from error


@contextmanager
def writing(path: Path, remedy: str) -> Iterator[None]:
    """InputError, with what the system says, where a file or folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from error
