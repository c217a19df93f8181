"""What needs no database to be refused, so that who is refused cannot take it from all others."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from billing_api.db.pool import ANSWER_SECONDS
from billing_api.errors import DatabaseUnavailable

#: Other replicas make room in a bucket, too, when a password was right; so each is looked at again after this time.
_REMEMBERED_SECONDS: Final = 5.0
#: About 3 MB. Who fills it has many addresses, and makes us forget what would be looked at again in 5 seconds anyway.
_REMEMBERED_MOST: Final = 10_000
#: Calls of one address wait for each other at its row, so more of them would only hold connections, of which there are
#: ten (DATABASE_POOL_SIZE).
_AT_ONCE: Final = 3


class Refusals:
    """Buckets that were full when they were last looked at."""

    def __init__(self, *, most: int = _REMEMBERED_MOST) -> None:
        """Remember none yet, and never more than `most`."""
        self._most = most
        #: Until when to remember each, and when it has room again; the first was remembered first.
        self._full: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full)

    def remember(self, bucket: Hashable, *, seconds: int) -> None:
        """Note that a bucket is full for so many seconds."""
        now = _now()
        self._full.pop(bucket, None)
        self._full[bucket] = (now + min(seconds, _REMEMBERED_SECONDS), now + seconds)
        if len(self._full) > self._most:
            self._full.popitem(last=False)

    def forget(self, bucket: Hashable) -> None:
        """Note that it may have room."""
        self._full.pop(bucket, None)

    def seconds(self, bucket: Hashable) -> int:
        """Return for how many seconds the bucket is full; 0 when it has to be looked at."""
        now = _now()
        until, room_at = self._full.get(bucket, (now, now))
        if until <= now:
            self.forget(bucket)
            return 0
        return max(1, math.ceil(room_at - now))


@dataclass
class _Lane:
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    inside: int = 0


class Turns:
    """Lets the calls of each address to the database one after the other, or nearly."""

    def __init__(self, *, seconds: float = ANSWER_SECONDS) -> None:
        """Begin without calls; each may take so long, in all, with the database."""
        self._seconds = seconds
        self._lanes: dict[Hashable, _Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    def of(self, address: Hashable, *, most: int) -> AbstractAsyncContextManager[float] | None:
        """Return what waits for a turn and holds it, to be entered at once; None when `most` are inside already.

        It gives the seconds that are left of those that a request may take with the database.

        Raises, when it is entered:
            DatabaseUnavailable: the turn has not come in time.
        """
        lane = self._lanes.get(address)
        return None if lane is not None and lane.inside >= most else self._pass(address)

    @asynccontextmanager
    async def _pass(self, address: Hashable) -> AsyncIterator[float]:
        deadline = _now() + self._seconds
        lane = self._lanes.setdefault(address, _Lane())
        lane.inside += 1
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    await lane.turns.acquire()
            except TimeoutError:
                raise DatabaseUnavailable("the earlier calls of an address are not counted in time") from None
            try:
                yield deadline - _now()
            finally:
                lane.turns.release()
        finally:
            lane.inside -= 1
            if not lane.inside:
                del self._lanes[address]


def _now() -> float:
    return asyncio.get_running_loop().time()
