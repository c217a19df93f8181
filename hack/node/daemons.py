"""The node's daemons, kept running: one that has ended is started again after a moment, as systemd would."""

import os
import select
import subprocess
import time
from pathlib import Path
from typing import IO

from hack.node.programs import Daemon

# Seconds from the end of a daemon to its next start.
RESTART_DELAY = 1.0


class Daemons:
    """Starts daemons, and starts them again."""

    def __init__(self, *, logs: Path, record: IO[str]) -> None:
        """Write what each says to `logs`, and to `record` when one has ended."""
        self._logs = logs
        self._record = record
        self._running: dict[str, tuple[Daemon, subprocess.Popen[bytes]]] = {}
        self._due: dict[str, tuple[Daemon, float]] = {}

    def start(self, daemon: Daemon) -> None:
        """Start one."""
        with (self._logs / f"{daemon.name}.log").open("ab") as log:
            process = subprocess.Popen(
                daemon.command,
                env=daemon.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._running[daemon.name] = daemon, process

    def has_ended(self, name: str) -> bool:
        """Tell whether a daemon has ended since it was last started."""
        return self._running[name][1].poll() is not None

    def end(self) -> None:
        """Kill them all, and start none again."""
        self._due.clear()
        for _, process in self._running.values():
            process.kill()
            process.wait()

    def watch(self, stop: IO[str], *, timeout: float) -> bool:
        """Restart what ends during `timeout` seconds; return False as soon as `stop` can be read or has ended."""
        with_pidfd = {os.pidfd_open(process.pid): name for name, (_, process) in self._running.items()}
        try:
            ready, _, _ = select.select([stop.fileno(), *with_pidfd], [], [], self._patience(timeout))
        finally:
            for descriptor in with_pidfd:
                os.close(descriptor)
        for descriptor in with_pidfd.keys() & set(ready):
            self._note_end(with_pidfd[descriptor])
        self._start_due()
        return stop.fileno() not in ready

    def _patience(self, timeout: float) -> float:
        now = time.monotonic()
        return max(0.0, min([timeout, *(moment - now for _, moment in self._due.values())]))

    def _note_end(self, name: str) -> None:
        daemon, process = self._running.pop(name)
        self._record.write(f"{name} has ended with exit code {process.wait()}, and is started again\n")
        self._record.flush()
        self._due[name] = daemon, time.monotonic() + RESTART_DELAY

    def _start_due(self) -> None:
        for name, (daemon, moment) in list(self._due.items()):
            if moment <= time.monotonic():
                del self._due[name]
                self.start(daemon)
