"""Ctrl-C and SIGTERM as a request to stop at the end of the step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """Work was saved and left because of a signal. The command line exits with 128 + `signum`."""

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.signum = signum


@dataclass
class Interrupt:
    """The signal that came, if one came."""

    signum: int = 0


@contextmanager
def interrupts() -> Iterator[Interrupt]:
    """While inside, the first Ctrl-C or SIGTERM is only noted. A second one acts as usual."""
    request = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield request  # Python lets only the main thread handle signals
        return
    earlier = {s: signal.getsignal(s) for s in SIGNALS}

    def note(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        request.signum = signum
        for s in SIGNALS:
            signal.signal(s, earlier[s])

    for s in SIGNALS:
        signal.signal(s, note)
    try:
        yield request
    finally:
        for s in SIGNALS:
            signal.signal(s, earlier[s])


def ignore_in_worker(worker: int) -> None:  # noqa: ARG001
    """`worker_init_fn` of a DataLoader: Ctrl-C reaches the whole process group, the trainer decides what happens."""
    for s in SIGNALS:
        signal.signal(s, signal.SIG_IGN)
