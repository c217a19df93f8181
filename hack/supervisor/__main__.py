"""The parent of every component: started by `SupervisorConnection`, ends them all when its starter ends.

It obeys JSON lines on standard input and answers each with one line. The end of input or of the starter, whichever
shows first (a process forked by the starter may hold the input open), ends everything, unless the starter said
"detach" before. The components in turn are killed by the kernel should this process die. It imports the standard
library only, to be up in a moment.

Commands: {"command": "start", "name", "arguments", "endpoint", "health_path"} · {"command": "stop", "name"} ·
{"command": "detach"}. Answers: {"ports": [...]} once at first, then {"ok": true} or {"ok": false, "error"}.
"""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hack.processes import dying_with_parent, identify
from hack.supervisor.ports import PortReservation
from hack.supervisor.state import ComponentState, SupervisorState, write_state

ENDING_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


@dataclass
class Child:
    """A started component."""

    process: subprocess.Popen[bytes]
    state: ComponentState


@dataclass(frozen=True)
class Workplace:
    """The folders and the file that `SupervisorConnection` names, and the settings to record."""

    directory: Path
    logs: Path
    state: Path
    settings: Mapping[str, Any]


class Supervisor:
    """Starts, watches and ends components."""

    def __init__(self, workplace: Workplace, *, ports: PortReservation) -> None:
        self._workplace = workplace
        self._ports = ports
        self._children: dict[str, Child] = {}
        self._starter: int | None = os.pidfd_open(os.getppid())  # None once detached
        self._ending = False
        self._buffer = b""

    def run(self) -> None:
        """Obey until a signal or the end of input says to end, then end every component."""
        wakeup_reader, wakeup_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_writer)
        for number in (*ENDING_SIGNALS, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)  # the wake-up pipe carries it
        self._record()
        self._answer({"ports": self._ports.ports})
        try:
            while not self._ending:
                self._wait(wakeup_reader)
        finally:
            self._end_all()

    def _wait(self, wakeup_reader: int) -> None:
        starter = [] if self._starter is None else [self._starter, sys.stdin.fileno()]
        ready, _, _ = select.select([wakeup_reader, *starter], [], [])
        if wakeup_reader in ready:
            self._ending = bool(ENDING_SIGNALS & set(os.read(wakeup_reader, 256)))
            self._reap()
        elif self._starter in ready:
            self._ending = True
        else:
            self._read_commands()

    def _read_commands(self) -> None:
        data = os.read(sys.stdin.fileno(), 65536)
        if not data:
            self._ending = True
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            try:
                self._obey(json.loads(line))
            except (OSError, KeyError, ValueError) as error:
                self._answer({"ok": False, "error": str(error)})
            else:
                self._answer({"ok": True})

    def _obey(self, command: dict[str, Any]) -> None:
        match command.pop("command"):
            case "start":
                self._start(**command)
            case "stop":
                self._stop(**command)
            case "detach":
                self._detach()
            case other:
                raise ValueError(f"unknown command {other!r}")

    def _detach(self) -> None:
        if self._starter is not None:
            os.close(self._starter)
            self._starter = None

    def _start(self, *, name: str, arguments: list[str], endpoint: str, health_path: str) -> None:
        if name in self._children and self._children[name].process.poll() is None:
            raise ValueError(f"{name} is running already")
        with (self._workplace.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._workplace.directory,
                env=self._environment(),
                preexec_fn=dying_with_parent(),
            )
        state = ComponentState(process=identify(process.pid), endpoint=endpoint, health_path=health_path)
        self._children[name] = Child(process=process, state=state)
        self._record()

    def _environment(self) -> dict[str, str]:
        """Return a clean environment: no proxy, no KUBECONFIG, no configuration from the user's home."""
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self._workplace.directory)}

    def _stop(self, *, name: str) -> None:
        child = self._children[name]
        child.process.kill()
        child.process.wait()
        self._reap()

    def _reap(self) -> None:
        """Record which children have ended."""
        for child in self._children.values():
            code = child.process.poll()
            if code is not None:
                child.state = replace(child.state, process=None, exit_code=code)
        self._record()

    def _end_all(self) -> None:
        """Kill everything at once: nothing here needs, or should wait for, a graceful end."""
        for child in self._children.values():
            child.process.kill()
        for child in self._children.values():
            child.process.wait()
        self._ports.release()
        self._workplace.state.unlink(missing_ok=True)

    def _record(self) -> None:
        own = identify(os.getpid())
        if own is None:
            raise RuntimeError("/proc is not mounted: processes cannot be told apart")
        components = {name: child.state for name, child in self._children.items()}
        state = SupervisorState(supervisor=own, settings=self._workplace.settings, components=components)
        write_state(self._workplace.state, state)

    def _answer(self, answer: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # the starter is gone; the end of input follows
            os.write(sys.stdout.fileno(), json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Run one supervisor."""
    parser = argparse.ArgumentParser(prog="python -m hack.supervisor", description=main.__doc__)
    for name in ("--directory", "--logs", "--state"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--ports", type=int, required=True, help="how many ports to reserve")
    parser.add_argument("--settings", type=json.loads, required=True, help="JSON, recorded in the state file")
    options = parser.parse_args()
    os.umask(0o077)
    workplace = Workplace(
        directory=options.directory, logs=options.logs, state=options.state, settings=options.settings
    )
    Supervisor(workplace, ports=PortReservation(options.ports)).run()


if __name__ == "__main__":
    main()
