"""The fence around writes: a replica writes while it surely leads, and what is in flight when that ends is cut off.

Kubernetes knows no fencing tokens: the API server takes a write from whoever has the right. So the writer has to stop
by itself, before another replica may start: https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html
"""

import asyncio
import math
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Self

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection

from customer_operator.errors import LeadershipLost

# clock_gettime(2): nobody sets it, and it goes on while the machine is suspended, where the system has such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# socket(7): on close, drop what has not been delivered and reset the connection.
_RESET = struct.pack("ii", 1, 0)


def now() -> float:
    """Return seconds on a clock that only ever moves forward."""
    return time.clock_gettime(_CLOCK)


class Fence:
    """Lets writes pass until a time that every renewal of the lease moves on."""

    def __init__(self, *, until: float = -math.inf, clock: Callable[[], float] = now) -> None:
        """Take the time of the clock at which it closes; it is closed from the start unless told otherwise."""
        self._until = until
        self._clock = clock
        self._limits: set[asyncio.Timeout] = set()

    @classmethod
    def always_open(cls) -> Self:
        """Return the fence of a client whose writes need no leader, such as those to the Lease itself."""
        return cls(until=math.inf)

    @property
    def left(self) -> float:
        """Return for how many seconds writes still pass; not positive when none does."""
        return self._until - self._clock()

    def extend(self, until: float) -> None:
        """Let writes pass until a time of the clock, those in flight included; an earlier time changes nothing."""
        self._until = max(self._until, until)
        self._limit_all()

    def close(self) -> None:
        """Let no write pass from now on, and cut off those in flight."""
        self._until = -math.inf
        self._limit_all()

    async def expired(self) -> None:
        """Return when the time is up, as far as it has been moved on by then."""
        left = self.left
        while left > 0:
            await asyncio.sleep(left)
            left = self.left

    def check(self, what: str) -> None:
        """Raise LeadershipLost when a write, named by `what`, must not leave."""
        if self.left <= 0:
            raise LeadershipLost(f"{what}: not sent, for this replica does not lead")

    @asynccontextmanager
    async def guard(self, what: str) -> AsyncIterator[None]:
        """Let one write pass; raise LeadershipLost at once when none may, or as soon as the time is up."""
        self.check(what)
        write = _Write(self, what)
        token = _write.set(write)
        limit = asyncio.timeout_at(self._when())
        try:
            async with limit:
                self._limits.add(limit)
                try:
                    yield
                finally:
                    self._limits.discard(limit)
        except BaseException as error:
            write.cut_off()
            if limit.expired() and isinstance(error, TimeoutError):
                raise LeadershipLost(f"{what}: cut off, for this replica does not lead any more") from error
            raise
        finally:
            _write.reset(token)

    def _limit_all(self) -> None:
        when = self._when()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(when)

    def _when(self) -> float | None:
        """Return the time of the event loop's clock at which a write in flight is cut off; None for never."""
        if self._until == math.inf:
            return None
        return asyncio.get_running_loop().time() + max(0.0, self.left)


class _Write:
    """One write on its way."""

    def __init__(self, fence: Fence, what: str) -> None:
        self._fence = fence
        self._what = what
        self._transport: asyncio.Transport | None = None

    def leave(self, connection: Connection) -> None:
        """Take the connection on which it is about to leave; LeadershipLost when it has waited too long for that."""
        self._fence.check(self._what)
        self._transport = connection.transport

    def goes_on(self) -> bool:
        """Tell whether it may still leave; when the time is up meanwhile, it is cut off before it has."""
        if self._fence.left > 0:
            return True
        self._fence.close()
        return False

    def cut_off(self) -> None:
        """Drop what the system still holds of it, so that a network that comes back does not deliver it late.

        Closing is not enough: TLS would go on flushing for 30 s (asyncio/constants.py), the kernel for minutes.
        """
        transport = self._transport
        if transport is None or not transport.is_closing():
            return  # never sent, or answered and perhaps in use by another request
        if (sock := transport.get_extra_info("socket")) is not None:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()


_write: ContextVar[_Write | None] = ContextVar("write", default=None)


class FencedRequest(aiohttp.ClientRequest):
    """A request of a session whose writes are fenced: it may have waited for its connection for long."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Look at the fence for the last time, and send."""
        if (write := _write.get()) is not None:
            write.leave(conn)
        return await super().send(conn)

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        """Look once more: headers and body leave here, in a task before which the process may have stood still."""
        if (write := _write.get()) is None or write.goes_on():
            await super().write_bytes(writer, conn, content_length)
