"""Connections to PostgreSQL. Outages leave here as DatabaseUnavailable; nothing else of the driver leaves."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from billing_api.errors import DatabaseUnavailable

Connection = psycopg.AsyncConnection[TupleRow]

#: How long a request waits for a free connection; a client has given up by then.
_POOL_TIMEOUT_SECONDS = 20.0
_CONNECT_TIMEOUT_SECONDS = 5
#: No statement of ours takes long: one that does waits for a lock that will not come.
_SESSION = "SET statement_timeout = '15s'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '60s'"


class Database:
    """A pool of connections, opened by ``async with``."""

    def __init__(self, dsn: str, *, size: int, quiet_seconds: float = 15.0) -> None:
        """Describe the pool.

        Args:
            dsn: what libpq takes.
            size: the most connections at once.
            quiet_seconds: after so long without a notification the listener asks whether the server is a live one.
        """
        self._dsn = dsn
        self._quiet_seconds = quiet_seconds
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            kwargs={"connect_timeout": _CONNECT_TIMEOUT_SECONDS},
            min_size=min(2, size),
            max_size=size,
            timeout=_POOL_TIMEOUT_SECONDS,
            open=False,
            configure=_configure,
            check=AsyncConnectionPool.check_connection,
            name="billing",
        )

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Give a connection in a transaction: committed at the end of the block, rolled back on an exception.

        Raises:
            DatabaseUnavailable: no connection within 20 seconds, or it broke.
        """
        try:
            async with self._pool.connection() as connection, _writable(connection):
                yield connection
        except _OUTAGES as error:
            raise DatabaseUnavailable(f"PostgreSQL: {type(error).__name__}") from error

    async def notifications(self, channel: str) -> AsyncGenerator[None]:
        """Yield once when listening, then once for every NOTIFY on the channel, on a connection of its own.

        In quiet times it asks now and then whether the server still takes writes: one that was replaced by another, and
        keeps its connections, would never send anything again.

        Raises:
            DatabaseUnavailable: the connection cannot be made, or broke, or the server is read-only.
        """
        try:
            async with AsyncExitStack() as stack:
                connection = await stack.enter_async_context(await self._connect())
                await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
                await _require_writable(connection)
                yield
                while True:
                    async for _ in connection.notifies(timeout=self._quiet_seconds):
                        yield
                    await _require_writable(connection)
        except _OUTAGES as error:
            raise DatabaseUnavailable(f"PostgreSQL: {type(error).__name__}") from error

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_SECONDS, **_KEEPALIVE
        )


#: A listener waits for hours: TCP must notice by itself that the server is gone.
_KEEPALIVE: dict[str, Any] = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


#: Beside connections that break: a server that only replicates another one, or was told to take no writes.
_OUTAGES = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)


@asynccontextmanager
async def _writable(connection: Connection) -> AsyncIterator[None]:
    """Close a connection to a server that takes no writes: the next one may lead to another server."""
    try:
        yield
    except psycopg.errors.ReadOnlySqlTransaction:
        await connection.close()
        raise


async def _require_writable(connection: Connection) -> None:
    cursor = await connection.execute("SELECT current_setting('transaction_read_only')::boolean")
    row = await cursor.fetchone()
    if row is None or row[0]:
        raise DatabaseUnavailable("PostgreSQL is read-only")


async def _configure(connection: Connection) -> None:
    await connection.execute(_SESSION)
    await connection.commit()
