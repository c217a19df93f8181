"""How the process ends: the first SIGTERM or SIGINT asks, the second ends it at once, and so does the deadline."""

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

#: Kubernetes kills a pod 30 seconds after it has asked (terminationGracePeriodSeconds); by then we are gone.
DEADLINE_SECONDS = 28.0
#: How another thread of ours asks: what ends the process must run in the main thread.
_OWN_SIGNAL = signal.SIGUSR1


class Stop:
    """The wish of somebody that this process ends. One per process, made in the main thread."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._signalled = False
        self._ask: Callable[[], None] = _leave

    def install(self) -> None:
        """Take signals from now on; until `asking`, the first that asks unwinds the stack and exits with 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(_OWN_SIGNAL, self._on_own_signal)

    def from_any_thread(self) -> None:
        """Ask, because a part of ours cannot go on; while the process is ending anyway, let it go on with that."""
        os.kill(os.getpid(), _OWN_SIGNAL)

    @contextmanager
    def asking(self, ask: Callable[[], None]) -> Iterator[None]:
        """Within the block, ask in this way instead. It is called in a signal handler: it may set a flag, no more."""
        self._ask = ask
        try:
            yield
        finally:
            self._ask = _leave

    @property
    def elapsed(self) -> float:
        """Seconds since it was asked for; 0.0 before."""
        return 0.0 if self._asked_at is None else time.monotonic() - self._asked_at

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._signalled:
            _end_at_once(number)
        self._signalled = True
        self._begin()

    def _on_own_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._begin()

    def _begin(self) -> None:
        if self._asked_at is not None:
            return
        self._asked_at = time.monotonic()
        # A thread in C that needs neither lock nor loop of ours; what it writes shows where we hang, and no values.
        faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True)
        self._ask()


def _leave() -> NoReturn:
    sys.exit(0)


def _end_at_once(number: int) -> NoReturn:
    """Exit as a shell reports a signal. Logging may be what was interrupted; the kernel tells the database's server."""
    os.write(sys.stderr.fileno(), b"billing_api: a second signal, ending at once\n")
    # Not by the signal's own action: to process 1 of a container the kernel does not apply it.
    os._exit(128 + number)
