"""Connections to PostgreSQL. Outages leave here as DatabaseUnavailable, in less than a second."""

import asyncio
import os
import select
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from time import monotonic
from typing import Any, Final, Self

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from billing_api.errors import DatabaseReadOnly, DatabaseUnavailable

Connection = psycopg.AsyncConnection[TupleRow]

#: Callers are promised an answer within a second of an outage; this is the share of all that PostgreSQL does for them.
ANSWER_SECONDS: Final = 0.7
#: Who has got a connection late, because many want one, still gets this much time with it.
_LEAST_SECONDS = 0.4
#: A timer this late says that our own event loop stood still, not that the server did.
_LATE_SECONDS = 0.1
#: Connections that requests never take: for health and metrics.
_PROBES = 2
_CONNECT_SECONDS = 3
#: The pool's pauses between tries begin with a second, longer than anybody waits. So it gives up at once, and is asked
#: again by those who wait: each request makes it connect anew. In a queue for connections this keeps the order, nearly.
_RECONNECT_SECONDS = 0.1
_ASK_SECONDS = 0.2
_CLOSE_SECONDS = 2.0
#: For servers that vanish without a word, such as a machine without power: TCP must find out by itself.
_KEEPALIVE: dict[str, Any] = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
#: What nobody waits for any longer must not go on in the server. A lock is given up first, which keeps the connection.
_SESSION = "SET statement_timeout = '1s'; SET lock_timeout = '600ms'; SET idle_in_transaction_session_timeout = '60s'"
#: A server that has become a standby refuses to write; another one can, sooner or later.
_OUTAGES = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)


class Database:
    """Pools of connections, opened by ``async with``: one for requests, a small one for probes."""

    def __init__(self, dsn: str, *, size: int, quiet_seconds: float = 15.0) -> None:
        """Describe the pool.

        Args:
            dsn: what libpq takes.
            size: the most connections at once.
            quiet_seconds: after so long without a notification the listener asks whether the server is a live one.
        """
        self._dsn = dsn
        self._quiet_seconds = quiet_seconds
        self._requests = _pool(dsn, name="billing", least=min(2, size), most=size)
        self._probes = _pool(dsn, name="billing-probes", least=1, most=_PROBES)

    async def __aenter__(self) -> Self:
        await self._requests.open()
        await self._probes.open()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await asyncio.gather(self._requests.close(_CLOSE_SECONDS), self._probes.close(_CLOSE_SECONDS))

    @asynccontextmanager
    async def transaction(self, *, seconds: float = ANSWER_SECONDS) -> AsyncIterator[Connection]:
        """Give a connection in a transaction: committed at the end of the block, rolled back on an exception.

        Args:
            seconds: how long all of it may take. Longer than the default is for work that nobody waits for, shorter for
                callers who have waited for something else.

        Raises:
            DatabaseUnavailable: no connection within 0.7 seconds, it broke, or the time is up.
        """
        async with _transaction(self._requests, seconds=seconds) as connection:
            yield connection

    @asynccontextmanager
    async def probe(self) -> AsyncIterator[Connection]:
        """Give a connection like `transaction`, for health and metrics: they never wait behind requests."""
        async with _transaction(self._probes, seconds=ANSWER_SECONDS) as connection:
            yield connection

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
                with _hanging_up(connection, seconds=_CONNECT_SECONDS):
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                    await require_writable(connection)
                yield
                while True:
                    async for _ in connection.notifies(timeout=self._quiet_seconds):
                        yield
                    with _hanging_up(connection, seconds=_CONNECT_SECONDS):
                        await require_writable(connection)
        except _OUTAGES as error:
            raise _unavailable(error) from error

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=_CONNECT_SECONDS, **_KEEPALIVE
        )


def _pool(dsn: str, *, name: str, least: int, most: int) -> AsyncConnectionPool[Connection]:
    return AsyncConnectionPool(
        dsn,
        kwargs={"connect_timeout": _CONNECT_SECONDS, **_KEEPALIVE},
        min_size=least,
        max_size=most,
        reconnect_timeout=_RECONNECT_SECONDS,
        open=False,
        configure=_configure,
        name=name,
    )


async def require_writable(connection: Connection) -> None:
    """Fail as a write would if the server takes none; who has the connection from a pool gets another one next time."""
    cursor = await connection.execute("SELECT current_setting('transaction_read_only')::boolean")
    row = await cursor.fetchone()
    if row is None or row[0]:
        raise psycopg.errors.ReadOnlySqlTransaction


async def _configure(connection: Connection) -> None:
    with _hanging_up(connection, seconds=_CONNECT_SECONDS):
        await connection.execute(_SESSION)
        await connection.commit()


@asynccontextmanager
async def _transaction(pool: AsyncConnectionPool[Connection], *, seconds: float) -> AsyncIterator[Connection]:
    began = monotonic()
    try:
        connection = await _take(pool, deadline=began + min(seconds, ANSWER_SECONDS))
        try:
            left = max(seconds - (monotonic() - began), _LEAST_SECONDS)
            # The commit and the rollback are inside as well: a server can fall silent at any time.
            with _hanging_up(connection, seconds=left):
                async with connection.transaction():
                    if seconds > ANSWER_SECONDS:
                        await _allow(connection, seconds)
                    yield connection
        except psycopg.errors.ReadOnlySqlTransaction:
            await connection.close()
            raise
        finally:
            await pool.putconn(connection)
    except _OUTAGES as error:
        raise _unavailable(error) from error


async def _take(pool: AsyncConnectionPool[Connection], *, deadline: float) -> Connection:
    """Return a connection, not one that the server has ended in the meantime; the pool replaces those."""
    while True:
        try:
            connection = await pool.getconn(max(0.0, min(_ASK_SECONDS, deadline - monotonic())))
        except PoolTimeout:
            if monotonic() < deadline:
                continue
            raise
        if not _has_ended(connection):
            return connection
        await connection.close()
        await pool.putconn(connection)


def _has_ended(connection: Connection) -> bool:
    """Tell without asking the server: on a connection at rest, nothing is to be read but its end."""
    if connection.closed:
        return True
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    return bool(poller.poll(0))


async def _allow(connection: Connection, seconds: float) -> None:
    milliseconds = sql.Literal(int(seconds * 1000))
    await connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(milliseconds))
    await connection.execute(sql.SQL("SET LOCAL idle_in_transaction_session_timeout = {}").format(milliseconds))


@contextmanager
def _hanging_up(connection: Connection, *, seconds: float) -> Iterator[None]:
    """Shut the connection's socket down when the time is up, so that whatever waits for the server ends with an error.

    Cancelling would not do: psycopg then asks the server to stop the query, and waits for a server that is silent.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def hang_up() -> None:
        nonlocal timer
        if loop.time() - timer.when() > _LATE_SECONDS:
            # The answer may have come in the meantime, and nobody could read it.
            timer = loop.call_later(_LEAST_SECONDS, hang_up)
        elif not connection.closed:
            # ENOTCONN: the other side was faster.
            with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as channel:
                channel.shutdown(socket.SHUT_RDWR)

    timer = loop.call_later(seconds, hang_up)
    try:
        yield
    finally:
        timer.cancel()


def _unavailable(error: Exception) -> DatabaseUnavailable:
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return DatabaseReadOnly("PostgreSQL is read-only")
    return DatabaseUnavailable(f"PostgreSQL: {type(error).__name__}")
