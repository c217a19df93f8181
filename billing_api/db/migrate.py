"""Brings the schema to its newest version. Safe to run from several processes at once: one works, the others wait."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any, Final

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from billing_api.backoff import delay
from billing_api.db.outage import unavailable
from billing_api.errors import BillingError, DatabaseUnavailable, SchemaError

#: Any number will do, as long as nobody else takes it; held by the session, because a migration may leave transactions.
_LOCK = 0x62696C6C  # "bill"
_CONNECT_SECONDS = 5
#: A statement that waits for a lock makes all others on its table wait behind it, so it soon steps back. Not those that
#: run CONCURRENTLY: nobody waits for them, and outside of a transaction this has no effect.
_STEP_BACK = "SET LOCAL lock_timeout = '3s'"
#: In all, for locks of tables and for the other processes' migrations.
_PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = (0.2, 5.0)
_KEEPALIVE: dict[str, Any] = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}

MIGRATIONS: Final = Path(__file__).parent / "migrations"
log = logging.getLogger(__name__)


class _TableLocked(BillingError):
    """A migration gave up waiting for a table, and has changed nothing."""


def migrate(dsn: str, *, migrations: Path = MIGRATIONS, patience: float = _PATIENCE_SECONDS) -> None:
    """Apply all missing migrations, each in a transaction. Blocks.

    Args:
        dsn: what libpq takes: a URL or key=value pairs.
        migrations: the folder with Alembic's env.py and versions.
        patience: how long to wait for locks that others hold, in seconds.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer, cannot write now, or others hold their locks too long.
        SchemaError: the schema is newer than this program, or we may not change it.
    """
    deadline = monotonic() + patience
    config = _config(migrations)
    for pause in _pauses():
        try:
            with _connected(dsn) as raw, _locked(raw, deadline=deadline), _engine(raw).connect() as connection:
                _upgrade(config, connection)
                return
        except _TableLocked:
            if monotonic() + pause > deadline:
                raise DatabaseUnavailable(
                    "DATABASE_URL: a migration waits for a table that another session has locked; "
                    "end that session (pg_locks, pg_stat_activity), then start again"
                ) from None
            log.warning("A migration waits for a table that another session has locked")
            time.sleep(pause)


def require_current(dsn: str) -> None:
    """Refuse a database that has no schema, or not that of this program. Blocks.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer.
        SchemaError: the schema is missing, older or newer; with the cure.
    """
    script = ScriptDirectory.from_config(_config(MIGRATIONS))
    with _connected(dsn) as raw, _engine(raw).connect() as connection:
        current = _current(connection, script)
    if script.get_current_head() not in current:
        found = f"is at version {', '.join(current)}" if current else "is missing"
        raise SchemaError(
            f"DATABASE_URL: the schema {found}, and this billing API works with version {script.get_current_head()}; "
            "start it once to serve, which brings the schema up to date, or name the database it serves from"
        )


def _config(migrations: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.set_main_option("path_separator", "os")
    return config


def _pauses() -> Iterator[float]:
    failures, random = 0, Random()  # noqa: S311 - jitter
    first, longest = _PAUSE_SECONDS
    while True:
        failures += 1
        yield delay(failures, first=first, longest=longest, random=random)


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """Give a connection; what PostgreSQL says against us leaves in our own words."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=_CONNECT_SECONDS, **_KEEPALIVE) as raw:
            yield raw
    except sqlalchemy.exc.DBAPIError as error:
        raise _translate(error.orig, dsn) from error
    except psycopg.Error as error:
        raise _translate(error, dsn) from error


@contextmanager
def _locked(raw: psycopg.Connection[Any], *, deadline: float) -> Iterator[None]:
    """Let one process in at a time, for as long as its connection lasts.

    It asks again and again: a statement that waits has a snapshot, for whose end CREATE INDEX CONCURRENTLY would wait.
    """
    for pause in _pauses():
        row = raw.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
        if row == (True,):
            break
        if monotonic() + pause > deadline:
            raise DatabaseUnavailable(
                "DATABASE_URL: another process has been changing the schema for too long; "
                "wait for it or end it (pg_stat_activity), then start again"
            )
        time.sleep(pause)
    yield


def _engine(raw: psycopg.Connection[Any]) -> sqlalchemy.Engine:
    """Return an engine that has this one connection."""
    raw.autocommit = False
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: raw, poolclass=sqlalchemy.NullPool)
    sqlalchemy.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(_STEP_BACK))
    return engine


def _upgrade(config: Config, connection: sqlalchemy.Connection) -> None:
    _current(connection, ScriptDirectory.from_config(config))
    # Alembic takes a transaction that is open already for one of its caller's, and would not commit.
    connection.rollback()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _current(connection: sqlalchemy.Connection, script: ScriptDirectory) -> set[str]:
    """Return the versions the schema is at, none without a schema; SchemaError when we do not know one."""
    known = {revision.revision for revision in script.walk_revisions()}
    current = set(MigrationContext.configure(connection).get_current_heads())
    if not current <= known:
        found, newest = ", ".join(sorted(current - known)), script.get_current_head()
        raise SchemaError(
            f"DATABASE_URL: the schema is at version {found}, and this billing API knows versions up to {newest}; "
            "start a newer billing API, or restore the backup from before the upgrade"
        )
    return current


def _translate(error: BaseException | None, dsn: str) -> BaseException:
    match error:
        case psycopg.errors.LockNotAvailable():
            return _TableLocked()
        case psycopg.errors.InsufficientPrivilege():
            return SchemaError(
                f"DATABASE_URL: its user may not bring the schema up to date ({error.diag.message_primary}); start "
                "once with the owner of the tables, or make the user the owner of the database"
            )
        case psycopg.errors.ReadOnlySqlTransaction():
            return DatabaseUnavailable(
                "DATABASE_URL: this server only reads, as a standby does, and the schema has to be brought up to date; "
                "name the primary, or all servers and target_session_attrs=read-write"
            )
        case psycopg.OperationalError():
            return unavailable(error, dsn=dsn)
        case _:
            return error or RuntimeError("no error")
