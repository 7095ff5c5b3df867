"""Ctrl-C, SIGTERM and SIGHUP (a terminal closed) as a request to stop at the end of the step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WORKER_GRACE_S = 30


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
    """While inside, the first of these signals is only noted. A second one acts as usual."""
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


def outlive_signals(worker: int) -> None:  # noqa: ARG001
    """`worker_init_fn` of a DataLoader. Ctrl-C, and SIGTERM from a job scheduler, reach all processes at once.

    The trainer still needs clips to finish its step, and then sends its workers home. SIGTERM only sets a limit to
    that: with nothing left to stop a worker, a trainer that fails would wait for it forever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(WORKER_GRACE_S))
