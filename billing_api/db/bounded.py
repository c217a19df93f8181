"""A connection that keeps nobody waiting: whoever waits for the server is let go in time, and its step goes on alone.

Neither way that psycopg has would do. To cancel asks the server, and waits for a server that is silent. To hang up
makes the server start and authenticate another process, just when it is slow already.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from billing_api.db.outage import Outages, TookTooLong

#: A timer this late says that our own event loop stood still, not that the server did: the answer may have come in the
#: meantime, and nobody could read it.
_LATE_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 0.4

T = TypeVar("T")


class BoundedConnection(psycopg.AsyncConnection[TupleRow]):
    """One of a pool's."""

    _until: float | None = None
    _words = ""
    _prolonged = False
    _abandoned: asyncio.Task[Any] | None = None

    @classmethod
    async def connect(  # type: ignore[override]  # the pool calls it, with what it was given
        cls, conninfo: str = "", *, outages: Outages, **options: Any
    ) -> Self:
        """Connect, and note whether that was possible."""
        try:
            connection = await super().connect(conninfo, **options)
        except psycopg.Error as error:
            outages.cannot_connect(error)
            raise
        outages.connected()
        return connection

    @contextmanager
    def bounded(self, *, until: float, words: str) -> Iterator[None]:
        """Let all that waits for the server within the block end at a time of the loop's clock.

        Raises:
            TookTooLong: in the words given, from whatever waits then, and whatever would wait later in the block.
        """
        self._until, self._words, self._prolonged = until, words, False
        try:
            yield
        finally:
            self._until = None

    @property
    def settled(self) -> bool:
        """Whether it is at rest: no step goes on, and no transaction is open. A connection that is broken is, too."""
        return self._abandoned is None and self.pgconn.transaction_status in (
            TransactionStatus.IDLE,
            TransactionStatus.UNKNOWN,
        )

    @property
    def abandoned(self) -> bool:
        """Whether a step goes on that nobody waits for."""
        return self._abandoned is not None

    async def settle(self) -> None:
        """Wait for the step that goes on, then roll back. It takes as long as the server does, or until `hang_up`."""
        if self._abandoned is not None:
            # Nobody wants to know how it ended.
            await asyncio.gather(self._abandoned, return_exceptions=True)
            self._abandoned = None
        if not self.settled:
            with suppress(psycopg.Error):
                await self.rollback()

    async def wait(
        self,
        gen: PQGen[T],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109 - as psycopg has it
    ) -> T:
        """Take a step of psycopg's: within `bounded` not beyond its time."""
        if self._until is None:
            return await super().wait(gen, interval, timeout)
        if self._abandoned is not None:
            raise TookTooLong(self._words)
        step = asyncio.create_task(super().wait(gen, interval, timeout))
        try:
            await self._in_time(step)
        finally:
            if not step.done():
                self._abandoned = step
        if not step.done():
            raise TookTooLong(self._words)
        return step.result()

    async def _in_time(self, step: asyncio.Task[Any]) -> None:
        """Return when a step is done, or the time is up; it is prolonged once when it was our event loop that slept."""
        assert self._until is not None  # noqa: S101 - see the caller
        loop = asyncio.get_running_loop()
        await asyncio.wait({step}, timeout=max(self._until - loop.time(), 0))
        if not step.done() and not self._prolonged and loop.time() - self._until > _LATE_SECONDS:
            self._prolonged, self._until = True, loop.time() + _GRACE_SECONDS
            await asyncio.wait({step}, timeout=_GRACE_SECONDS)


@contextmanager
def hanging_up(connection: psycopg.AsyncConnection[Any], *, seconds: float) -> Iterator[None]:
    """Hang up when the time is up, so that whatever waits for the server ends with an error."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def end() -> None:
        nonlocal timer
        if loop.time() - timer.when() > _LATE_SECONDS:
            timer = loop.call_later(_GRACE_SECONDS, end)
        else:
            hang_up(connection)

    timer = loop.call_later(seconds, end)
    try:
        yield
    finally:
        timer.cancel()


def hang_up(connection: psycopg.AsyncConnection[Any]) -> None:
    """Shut the connection's socket down, which wakes whatever waits for it."""
    if not connection.closed:
        # ENOTCONN: the other side was faster.
        with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as channel:
            channel.shutdown(socket.SHUT_RDWR)
