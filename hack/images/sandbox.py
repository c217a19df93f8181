"""Commands that mount: each in namespaces of its own, so that with it, however it ends, all it has mounted is gone."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from hack.errors import ImageError
from hack.files import log_tail
from hack.processes import dying_with_parent

# Everything it starts ends with it: the first process of a PID namespace takes the others along.
_UNSHARE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")


class Sandbox:
    """Runs commands as root, one after the other; what they say goes to one log file."""

    def __init__(self, *, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._environment = dict(environment)

    def run(
        self,
        *command: str,
        environment: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """Run a command to its end; `on_line` is told each line it says.

        Raises ImageError with its last words when it fails or is not there.
        """
        for program in (_UNSHARE[0], command[0]):
            if not shutil.which(program, path=self._environment["PATH"]):
                raise ImageError(f"{program} is not installed (make system-packages)")
        code = self._run(command, {**self._environment, **(environment or {})}, on_line or (lambda _: None))
        if code:
            raise ImageError(f"{' '.join(command[:2])} … ended with exit code {code}\n{log_tail(self._log)}")

    def _run(self, command: tuple[str, ...], environment: dict[str, str], on_line: Callable[[str], None]) -> int:
        process = subprocess.Popen(
            [*_UNSHARE, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=dying_with_parent(),
        )
        with process, self._log.open("a", encoding="utf-8") as log:
            try:
                for line in process.stdout or ():
                    log.write(line)
                    log.flush()
                    on_line(line.rstrip())
            except BaseException:
                process.kill()
                raise
        return process.returncode
