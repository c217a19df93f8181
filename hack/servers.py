"""A server as a child process whose log and ports can be waited for."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from hack.errors import BinaryError
from hack.processes import dying_with_parent

# Seconds; generous, because a test waits no longer than it has to.
PATIENCE = 30.0
_LINES_SHOWN = 40
_BREATH = 0.02  # seconds between two knocks at a port, which nothing announces to open
_FOLDERS = (*os.get_exec_path(), "/usr/local/sbin", "/usr/sbin")  # not every user has those of root in PATH


def find_program(name: str, *, of: str) -> Path:
    """Return a program of some software's package; raises BinaryError with the cure when there is none."""
    found = shutil.which(name, path=os.pathsep.join(_FOLDERS))
    if found is None:
        raise BinaryError(f"{of} is missing: apt-get install {of.lower()} (its service need not run)")
    return Path(found)


class Server:
    """A running process; both its outputs are its log."""

    def __init__(
        self, command: Sequence[str | Path], *, environment: Mapping[str, str], user: Mapping[str, Any] | None = None
    ) -> None:
        """Start it; `user` holds the arguments of Popen that say as whom."""
        self._log: list[str] = []
        self._log_ended = False
        self._grown = threading.Condition()
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=dying_with_parent(),
            **(user or {}),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it runs no longer."""
        return self._process.poll() is not None

    @property
    def log(self) -> str:
        """What it has written so far."""
        with self._grown:
            return "".join(self._log)

    def wait_for(self, pattern: str) -> None:
        """Wait until a line of the log matches; AssertionError when that does not happen, or it ends before."""
        seen, deadline = 0, time.monotonic() + PATIENCE
        with self._grown:
            while True:
                if any(re.search(pattern, line) for line in self._log[seen:]):
                    return
                seen = len(self._log)
                if self._log_ended or not self._grown.wait(deadline - time.monotonic()):
                    reason = "ended" if self._log_ended else f"waited {PATIENCE:g} s"
                    tail = "".join(self._log[-_LINES_SHOWN:])
                    raise AssertionError(f"{self._process.args!r} {reason} without {pattern!r}:\n{tail}")

    def wait_for_port(self, port: int, *, address: str = "127.0.0.1") -> None:
        """Wait until it listens on a port of an address, by knocking as a probe does; AssertionError as above."""
        deadline = time.monotonic() + PATIENCE
        while not is_open(port, address=address):
            ended = self.ended
            if ended or time.monotonic() > deadline:
                reason = "ended" if ended else f"waited {PATIENCE:g} s"
                raise AssertionError(f"{self._process.args!r} {reason} without listening on {port}:\n{self.log}")
            time.sleep(_BREATH)

    def wait(self) -> int:
        """Wait until it ends and all is logged; return its exit status, negative for a signal."""
        status = self._process.wait(timeout=PATIENCE)
        self._reader.join(timeout=PATIENCE)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, and do not wait for what it does."""
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it with a signal; return its exit status. No harm when it has ended."""
        if not self.ended:
            self._process.send_signal(number)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def _read(self) -> None:
        with cast("IO[str]", self._process.stdout) as output:
            for line in output:
                with self._grown:
                    self._log.append(line)
                    self._grown.notify_all()
        with self._grown:
            self._log_ended = True
            self._grown.notify_all()


def is_open(port: int, *, address: str = "127.0.0.1") -> bool:
    """Tell whether a server listens on a port of an address of this machine."""
    try:
        with socket.create_connection((address, port), timeout=PATIENCE):
            return True
    except ConnectionRefusedError:
        return False
