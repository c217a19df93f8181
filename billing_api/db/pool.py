"""Connections to PostgreSQL. Outages leave here as DatabaseUnavailable, in less than a second."""

import asyncio
import select
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from time import monotonic
from typing import Any, Final, Self

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from billing_api.db.bounded import BoundedConnection, hang_up, hanging_up
from billing_api.db.outage import Outages

Connection = psycopg.AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[BoundedConnection]

#: Callers are promised an answer within a second of an outage; this is the share of all that PostgreSQL does for them.
ANSWER_SECONDS: Final = 0.8
#: The part of it that may be spent on waiting for a connection; what is left is enough for a server that works.
_WAITING_SHARE: Final = 0.6
#: Who has less left, because of what was waited for before, still gets this much with a connection.
_LEAST_SECONDS: Final = 0.2
#: How much longer the server itself goes on with a statement that nobody waits for: a little, so that it is the server
#: that ends it, and the connection stays. A lock is given up before the caller is.
_SERVER_SHARE, _LOCK_SHARE = 1.25, 0.75
#: A server that has not come back to a connection by then is away, or so slow that one connection more does no harm.
_SILENCE_SECONDS = 5.0
#: Connections that requests never take: for health and metrics.
_PROBES = 2
#: What a process opens besides those of DATABASE_POOL_SIZE: the probes' and the listener's.
OTHER_CONNECTIONS: Final = _PROBES + 1
_CONNECT_SECONDS = 3
#: The pool's pauses between tries begin with a second, longer than anybody waits. So it gives up at once, and is asked
#: again by those who wait: each request makes it connect anew. In a queue for connections this keeps the order, nearly.
_RECONNECT_SECONDS = 0.1
_ASK_SECONDS = 0.2
_CLOSE_SECONDS = 2.0
#: For servers that vanish without a word, such as a machine without power: TCP must find out by itself.
_KEEPALIVE: dict[str, Any] = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
#: A server that has become a standby refuses to write; another one can, sooner or later. Whoever stands still in a
#: transaction is cut off by a server that works.
_OUTAGES = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
)


class Database:
    """Pools of connections, opened by ``async with``: one for requests, a small one for probes."""

    def __init__(
        self, dsn: str, *, size: int, quiet_seconds: float = 15.0, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        """Describe the pool.

        Args:
            dsn: what libpq takes.
            size: the most connections at once.
            quiet_seconds: after so long without a notification the listener asks whether the server is a live one.
            answer_seconds: how long a transaction may take, unless it says otherwise.
        """
        self._dsn = dsn
        self._quiet_seconds = quiet_seconds
        self._answer_seconds = answer_seconds
        self._outages = Outages(dsn=dsn)
        self._requests = self._pool(name="billing", least=min(2, size), most=size)
        self._probes = self._pool(name="billing-probes", least=1, most=_PROBES)
        self._settling: dict[asyncio.Task[None], BoundedConnection] = {}

    @property
    def answer_seconds(self) -> float:
        """How long a transaction may take that says nothing else."""
        return self._answer_seconds

    async def __aenter__(self) -> Self:
        await self._requests.open()
        await self._probes.open()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for connection in self._settling.values():
            hang_up(connection)
        await asyncio.gather(*self._settling, return_exceptions=True)
        await asyncio.gather(self._requests.close(_CLOSE_SECONDS), self._probes.close(_CLOSE_SECONDS))

    @asynccontextmanager
    async def transaction(self, *, seconds: float | None = None) -> AsyncIterator[Connection]:
        """Give a connection in a transaction: committed at the end of the block, rolled back on an exception.

        Args:
            seconds: how long all of it may take. Longer than the default is for work that nobody waits for, shorter for
                callers who have waited for something else.

        Raises:
            DatabaseUnavailable: no connection was to be had in half a second, it broke, or the time is up.
        """
        async with self._transaction(self._requests, seconds=seconds) as connection:
            yield connection

    @asynccontextmanager
    async def probe(self) -> AsyncIterator[Connection]:
        """Give a connection like `transaction`, for health and metrics: they never wait behind requests."""
        async with self._transaction(self._probes, seconds=None) as connection:
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
                with hanging_up(connection, seconds=_CONNECT_SECONDS):
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                    await require_writable(connection)
                yield
                while True:
                    async for _ in connection.notifies(timeout=self._quiet_seconds):
                        yield
                    with hanging_up(connection, seconds=_CONNECT_SECONDS):
                        await require_writable(connection)
        except _OUTAGES as error:
            raise self._outages.failed(error) from error

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=_CONNECT_SECONDS, **_KEEPALIVE
        )

    def _pool(self, *, name: str, least: int, most: int) -> Pool:
        return AsyncConnectionPool(
            self._dsn,
            connection_class=BoundedConnection,
            kwargs={"outages": self._outages, "connect_timeout": _CONNECT_SECONDS, **_KEEPALIVE},
            min_size=least,
            max_size=most,
            reconnect_timeout=_RECONNECT_SECONDS,
            open=False,
            configure=self._configure,
            name=name,
        )

    async def _configure(self, connection: BoundedConnection) -> None:
        statement, lock = (int(self._answer_seconds * share * 1000) for share in (_SERVER_SHARE, _LOCK_SHARE))
        with hanging_up(connection, seconds=_CONNECT_SECONDS):
            await connection.execute(
                sql.SQL(
                    "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = '60s'"
                ).format(sql.Literal(statement), sql.Literal(lock))
            )
            await connection.commit()

    @asynccontextmanager
    async def _transaction(self, pool: Pool, *, seconds: float | None) -> AsyncIterator[Connection]:
        began, allowed = asyncio.get_running_loop().time(), seconds or self._answer_seconds
        try:
            connection = await self._take(pool, seconds=min(allowed, self._answer_seconds * _WAITING_SHARE))
            until = max(began + allowed, asyncio.get_running_loop().time() + _LEAST_SECONDS)
            try:
                with connection.bounded(until=until, words=f"took longer than {allowed:.3g} s"):
                    if allowed > self._answer_seconds:
                        await _allow(connection, allowed)
                    async with _committing(connection):
                        yield connection
            finally:
                await self._give_back(pool, connection)
        except _OUTAGES as error:
            raise self._outages.failed(error) from error
        self._outages.worked()

    async def _take(self, pool: Pool, *, seconds: float) -> BoundedConnection:
        """Return a connection, not one that the server has ended in the meantime; the pool replaces those."""
        deadline = monotonic() + seconds
        while True:
            try:
                connection = await pool.getconn(max(min(_ASK_SECONDS, deadline - monotonic()), 0.001))
            except PoolTimeout:
                if monotonic() < deadline:
                    continue
                why = "it does not answer, or all of DATABASE_POOL_SIZE are in use"
                raise PoolTimeout(f"gave no connection within {seconds:.3g} s: {why}") from None
            if not _has_ended(connection):
                return connection
            await connection.close()
            await pool.putconn(connection)

    async def _give_back(self, pool: Pool, connection: BoundedConnection) -> None:
        if connection.settled:
            await pool.putconn(connection)
        else:
            settling = asyncio.create_task(_settle(pool, connection), name="database-settling")
            self._settling[settling] = connection
            settling.add_done_callback(self._settling.pop)


async def _settle(pool: Pool, connection: BoundedConnection) -> None:
    """Give a connection back when the server has come to rest on it, or hang up when it does not."""
    try:
        with hanging_up(connection, seconds=_SILENCE_SECONDS):
            await connection.settle()
    finally:
        await pool.putconn(connection)


@asynccontextmanager
async def _committing(connection: BoundedConnection) -> AsyncIterator[None]:
    try:
        yield
    except psycopg.errors.ReadOnlySqlTransaction:
        await connection.close()
        raise
    except BaseException:
        if not connection.abandoned:
            with suppress(psycopg.Error):
                await connection.rollback()
        raise
    await connection.commit()


async def connections_allowed(connection: Connection) -> int:
    """Return how many connections the server, the database and our role allow in all."""
    cursor = await connection.execute(
        """
        SELECT least(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
                     nullif(datconnlimit, -1), nullif(rolconnlimit, -1))
        FROM pg_database, pg_roles WHERE datname = current_database() AND rolname = current_user
        """
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def require_writable(connection: Connection) -> None:
    """Fail as a write would if the server takes none; who has the connection from a pool gets another one next time."""
    cursor = await connection.execute("SELECT current_setting('transaction_read_only')::boolean")
    row = await cursor.fetchone()
    if row is None or row[0]:
        raise psycopg.errors.ReadOnlySqlTransaction


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
