"""A server's file postmaster.pid: whether it is ready, and ending one that a killed process has left.

The file names a process by its number, which another program may have by now. It is believed only
of a process that has the folder's owner, PostgreSQL's name, the folder as its working directory, and was started when
the file says.
"""

import logging
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from billing_api.errors import EmbeddedDatabaseError

#: The file has whole seconds, and is written a moment after the start.
_SAME_START_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _PidFile:
    """What postmaster.pid tells (PostgreSQL's src/include/utils/pidfile.h): lines 1, 3 and 8."""

    pid: int
    started: float
    status: str


def is_ready(folder: Path, *, pid: int) -> bool:
    """Tell whether the server with this pid takes connections."""
    found = _read(folder / "postmaster.pid")
    return found is not None and found.pid == pid and found.status == "ready"


def end_leftover(folder: Path, *, patience: float) -> None:
    """Shut down the server in a folder, if there is one; afterwards PostgreSQL can be started there.

    Args:
        folder: the data folder.
        patience: how long it may take to end properly, and then at once, in seconds.

    Raises:
        EmbeddedDatabaseError: the server does not end, or it is not certain that it is one.
    """
    path = folder / "postmaster.pid"
    found = _read(path)
    if found is None:
        return
    try:
        process = psutil.Process(found.pid)
        serving = _serves(process, folder)
        same = abs(process.create_time() - found.started) <= _SAME_START_SECONDS
    except psutil.NoSuchProcess:
        # PostgreSQL itself looks whether somebody still works on the data.
        return
    if not serving:
        log.info("%s names process %d, which is another program by now; the file is removed", path, found.pid)
        path.unlink()
        return
    if not same:
        raise EmbeddedDatabaseError(
            f"DATA_DIR: process {found.pid} is a PostgreSQL at work in {folder}, and none that was started from there "
            f"as {path.name} says; end it, then start again"
        )
    _shut_down(process, folder, patience=patience)


def _read(path: Path) -> _PidFile | None:
    """Return what the file says; None without it, or where it is cut off: PostgreSQL tells what to do about that."""
    try:
        lines = path.read_text().splitlines()
        # A server in single-user mode has a negative number there.
        return _PidFile(pid=abs(int(lines[0])), started=float(lines[2]), status="".join(lines[7:8]).strip())
    except (FileNotFoundError, ValueError, IndexError):
        return None


def _serves(process: psutil.Process, folder: Path) -> bool:
    """Tell whether a process is a PostgreSQL that works in the folder."""
    try:
        return bool(
            process.uids().effective == folder.stat().st_uid
            and process.name() == "postgres"
            and Path(process.cwd()).samefile(folder)
        )
    except (psutil.AccessDenied, psutil.ZombieProcess, FileNotFoundError):
        # We may look into everything that runs as ourselves, or, being root, as anybody.
        return False


def _shut_down(process: psutil.Process, folder: Path, *, patience: float) -> None:
    """Fast, which ends all sessions properly, then at once ("Shutting Down the Server")."""
    log.warning("A PostgreSQL from before still works in %s: shutting it down", folder)
    for number in (signal.SIGINT, signal.SIGQUIT):
        # psutil sends nothing to a process that has only the same number.
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
        with suppress(psutil.TimeoutExpired):
            process.wait(patience)
            return
    raise EmbeddedDatabaseError(
        f"DATA_DIR: process {process.pid}, a PostgreSQL at work in {folder}, does not end; end it, then start again"
    )
