"""Ends the programs of a folder when its starter ends, in whatever way: kwokctl leaves daemons, and asks nobody.

`Guard` is the starter's side. The guard itself, `python -m hack.guard FOLDER`, is a process of its own, waits for the
end of its starter or of its own input, whichever shows first (a process forked by the starter may hold the input
open), and then kills whatever runs from the folder. It imports the standard library only, to be up in a moment.
"""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from hack.errors import ClusterError
from hack.paths import PROJECT_ROOT
from hack.processes import end_programs

DETACH = b"detach"
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Guard:
    """A running guard; whatever is started from `folder` afterwards ends with this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hack.guard", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT_ROOT,
            start_new_session=True,  # Ctrl-C in the terminal reaches the starter only
        )
        if not self._process.stdout or not self._process.stdout.readline():
            raise ClusterError(f"the guard of {folder} ended with exit code {self._process.wait()}")

    def detach(self) -> None:
        """Let the programs outlive this process."""
        self._process.communicate(DETACH)

    def close(self) -> None:
        """End the programs and wait for their end, even if somebody has killed the guard."""
        self._process.communicate()
        end_programs(self._folder)


def main() -> None:
    """Guard one folder."""
    for number in ENDING_SIGNALS:  # it ends when its starter does, never before
        signal.signal(number, signal.SIG_IGN)
    starter = os.pidfd_open(os.getppid())
    os.write(sys.stdout.fileno(), b"ready\n")
    ready, _, _ = select.select([starter, sys.stdin], [], [])
    if starter in ready or os.read(sys.stdin.fileno(), len(DETACH)) != DETACH:
        end_programs(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
