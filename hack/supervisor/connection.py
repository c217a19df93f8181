"""The starter's end of the line to the supervisor (its module tells the protocol)."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hack.errors import ClusterError
from hack.paths import PROJECT_ROOT

# It takes a fraction of a second; a machine that swaps may need longer.
END_TIMEOUT = 10.0


class SupervisorConnection:
    """A running supervisor; when the process that made this object ends, in whatever way, so does all it started.

    It works in the folder `directory`, keeps one log per component in `logs`, records everything, with `settings`,
    in the file `state`, and has reserved as many `ports` as it was asked for.
    """

    def __init__(
        self, directory: Path, *, logs: Path, state: Path, port_count: int, settings: Mapping[str, Any]
    ) -> None:
        self._log = logs / "supervisor.log"
        arguments = [f"--directory={directory}", f"--logs={logs}", f"--state={state}", f"--ports={port_count}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hack.supervisor", *arguments, f"--settings={json.dumps(dict(settings))}"],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=PROJECT_ROOT,
                start_new_session=True,  # Ctrl-C in the terminal reaches the starter, which then ends this one
            )
        try:
            self.ports: list[int] = self._read()["ports"]
        except BaseException:
            self.close()
            raise

    def start(self, name: str, *, arguments: Sequence[str], endpoint: str, health_path: str) -> None:
        """Start a component; raises ClusterError when it cannot even be executed."""
        self._command(command="start", name=name, arguments=list(arguments), endpoint=endpoint, health_path=health_path)

    def stop(self, name: str) -> None:
        """Kill one component, as a crash would; its port stays reserved."""
        self._command(command="stop", name=name)

    def detach(self) -> None:
        """Let everything outlive this process; the connection is closed."""
        self._command(command="detach")
        self._close_pipes()
        self._process.returncode = 0  # it goes on, on purpose: Popen must neither wait for it nor warn

    def close(self) -> None:
        """End everything and wait for its end."""
        self._close_pipes()
        try:
            self._process.wait(timeout=END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its components die with it
            self._process.wait()

    def _command(self, **command: object) -> None:
        stdin = self._process.stdin
        try:
            if stdin is not None:
                stdin.write(json.dumps(command).encode() + b"\n")
        except (BrokenPipeError, ValueError) as error:
            raise ClusterError(f"the supervisor has ended, see {self._log}") from error
        answer = self._read()
        if not answer["ok"]:
            raise ClusterError(f"{command['command']} {command.get('name', '')}: {answer['error']}")

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise ClusterError(f"the supervisor has ended, see {self._log}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
