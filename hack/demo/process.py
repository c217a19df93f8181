"""A program as a process that is never left behind: started, awaited, ended, its last words shown when it fails."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from hack.demo.errors import DemoError
from hack.files import log_tail
from hack.paths import PROJECT_ROOT
from hack.processes import dying_with_parent

READY_TIMEOUT = 60.0
PROBE_INTERVAL = 0.1
PROBE_TIMEOUT = 2.0
# The billing API stops its database, the operator gives its lease back: a second or two.
END_GRACE = 10.0
# A setting of the user's own shell, such as DATABASE_URL, must not reach the demo by accident.
INHERITED = ("HOME", "LANG", "PATH", "TMPDIR")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Program:
    """How a process is called, its settings, and the address that answers 200 when it is ready."""

    name: str
    arguments: tuple[str, ...]
    settings: Mapping[str, str]
    ready_url: str


@dataclass(frozen=True)
class Running:
    """A program that was started."""

    program: Program
    process: subprocess.Popen[bytes]
    log: Path

    def wait_ready(self) -> None:
        """Wait until it is ready; raises DemoError when it ends, or is not ready in READY_TIMEOUT seconds."""
        deadline = time.monotonic() + READY_TIMEOUT
        while not _answers(self.program.ready_url):
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(PROBE_INTERVAL)
                raise self.ended()
            if time.monotonic() > deadline:
                raise DemoError(f"{self.program.name} is not ready after {READY_TIMEOUT:.0f} s\n{self._last_words()}")

    def ended(self) -> DemoError:
        """Return the error that says how it ended, which it must have."""
        return DemoError(f"{self.program.name} ended with exit code {self.process.wait()}\n{self._last_words()}")

    def end(self) -> None:
        """Ask it to end, and kill it when it has not after END_GRACE seconds."""
        self.process.terminate()
        try:
            self.process.wait(END_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _last_words(self) -> str:
        return log_tail(self.log)


@contextmanager
def running(program: Program, *, logs: Path) -> Iterator[Running]:
    """Run a program until the end of the block, or of this process, in whatever way that ends.

    Its output is logged in the folder `logs`. To be called from the main thread, as
    `dying_with_parent` demands.
    """
    path = logs / f"{program.name}.log"
    with path.open("ab") as log:
        process = subprocess.Popen(
            program.arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=PROJECT_ROOT,
            env={name: os.environ[name] for name in INHERITED if name in os.environ} | dict(program.settings),
            start_new_session=True,  # Ctrl-C in the terminal reaches this process only, which then ends that one
            preexec_fn=_ending_with_parent(),
        )
    started = Running(program=program, process=process, log=path)
    try:
        yield started
    finally:
        started.end()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=PROBE_TIMEOUT, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _ending_with_parent() -> Callable[[], None]:
    """Return a `preexec_fn` like `dying_with_parent`, but with SIGTERM: the billing API has a database to stop."""
    die_if_orphaned, libc = dying_with_parent(), ctypes.CDLL(None, use_errno=True)

    def ask_kernel() -> None:
        die_if_orphaned()
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask_kernel
