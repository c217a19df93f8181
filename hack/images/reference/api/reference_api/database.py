"""Connections to PostgreSQL: a small pool for the requests, and single ones for the ingest and the migrations."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, LiteralString

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from reference_api.errors import Unavailable
from reference_api.migrations import migrate

AsyncConnection = psycopg.AsyncConnection[TupleRow]

_WAIT_SECONDS: Final = 2.0  # a probe waits five
_RETRY_SECONDS: Final = 1.0
_AT_ONCE: Final = 5000  # rows deleted by a statement, so that none takes long, whatever has gathered
#: psycopg's pool waits ever longer between its tries. So it gives up at once, and each request makes it try anew.
_RECONNECT_SECONDS: Final = 0.1
#: The server has to find out soon when our node is gone: it holds our locks until then, by default for two hours.
_SESSION: Final = {
    "timezone": "UTC",
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_OPTIONS: Final[dict[str, Any]] = {
    "connect_timeout": 3,
    "tcp_user_timeout": 10_000,
    "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
}

log = logging.getLogger(__name__)


class Database:
    """The pool; `ready` once the tables are there, and from then on."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.ready = False
        self._pool: AsyncConnectionPool[AsyncConnection] = AsyncConnectionPool(
            url,
            kwargs=_OPTIONS,
            min_size=1,
            max_size=4,
            timeout=_WAIT_SECONDS,
            reconnect_timeout=_RECONNECT_SECONDS,
            check=AsyncConnectionPool.check_connection,
            open=False,
        )

    async def prepare(self) -> None:
        """Migrate, as soon as the database answers, and open the pool."""
        while not self.ready:
            try:
                await asyncio.to_thread(self._migrate)
                await self._pool.open()
                self.ready = True
            except psycopg.Error as error:
                log.warning("the database is not ready: %s", type(error).__name__)
                await asyncio.sleep(_RETRY_SECONDS)

    async def close(self) -> None:
        """Close the pool."""
        await self._pool.close(timeout=_WAIT_SECONDS)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection; what is done on it is committed at the end, or not at all.

        Raises Unavailable when the database does not answer.
        """
        if not self.ready:
            raise _unavailable()
        try:
            async with self._pool.connection() as connection:
                yield connection
        except psycopg.OperationalError as error:  # PoolTimeout is one, too
            log.warning("a request fails because of the database: %s", type(error).__name__)
            raise _unavailable() from error

    async def answers(self) -> bool:
        """Tell whether the database answers."""
        try:
            async with self.transaction() as connection:
                await connection.execute("SELECT")
        except Unavailable:
            return False
        return True

    async def delete_in_parts(self, sql: LiteralString, value: object) -> None:
        """Run a deletion of `value`'s rows, so many at a time, until there are none left. Raises Unavailable."""
        deleted = _AT_ONCE
        while deleted == _AT_ONCE:
            async with self.transaction() as connection:
                deleted = (await connection.execute(sql, [value, _AT_ONCE])).rowcount

    def connect(self) -> psycopg.Connection[TupleRow]:
        """Return a connection of its own, for a thread. Raises psycopg.OperationalError."""
        return psycopg.connect(self._url, **_OPTIONS)

    def _migrate(self) -> None:
        with self.connect() as connection:
            migrate(connection)


def _unavailable() -> Unavailable:
    return Unavailable("database", "The database does not answer; try again shortly", headers={"Retry-After": "5"})
