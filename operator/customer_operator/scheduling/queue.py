"""The work queue: which instance is reconciled next.

One name is queued at most once and in flight at most once; whatever arrives meanwhile means one more pass.
"""

import asyncio
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """The classes of items: deletion first, the slow resync last."""

    DELETE = 0
    ENTERPRISE = 1
    PROFESSIONAL = 2
    STARTER = 3
    TRIAL = 4
    RESYNC = 5

    @property
    def label(self) -> str:
        """The class's name as metrics show it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One item taken from the queue: the instance's name, its class, and how long it waited (seconds)."""

    name: str
    priority: Priority
    waited: float


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    priority: Priority
    since: float  # when it became due: waiting is counted, and ages, from here
    ticket: int  # the heap item that is in force; older items of the same name are skipped


_Heap = list[tuple[float, int, str]]  # (rank or time, ticket, name)
_SLACK = 64  # superseded heap items that are not worth a clean-up


class WorkQueue:
    """Names waiting for work, by priority and age, with a time before which an item is not handed out.

    Ageing: every `age_step` seconds of waiting are worth one class, so a trial overtakes a fresh enterprise signup
    after 3 * age_step. As all items age at one speed, the rank `due + priority * age_step` never changes while an item
    waits, and a plain heap keeps the order.
    """

    def __init__(self, *, clock: Callable[[], float], age_step: float = 60.0) -> None:
        """Take the clock (seconds, monotonic; the event loop's own) and the seconds that are worth one class."""
        self._clock = clock
        self._age_step = age_step
        self._tickets = itertools.count()
        self._entries: dict[str, _Entry] = {}
        self._ready: _Heap = []
        self._delayed: _Heap = []
        self._in_flight: set[str] = set()
        self._changed = asyncio.Event()

    def add(self, name: str, priority: Priority, *, delay: float = 0.0) -> None:
        """Queue a name, not to be handed out before `delay` seconds have passed.

        A name that is queued already keeps the higher priority and the earlier time. A name that is in flight
        is queued again when it is done; the delay of an addition made meanwhile is kept.
        """
        due = self._clock() + delay
        entry = self._entries.get(name)
        if entry is not None:
            if priority >= entry.priority and due >= entry.since:
                return
            priority, due = min(priority, entry.priority), min(due, entry.since)
        entry = _Entry(name=name, priority=priority, since=due, ticket=next(self._tickets))
        self._entries[name] = entry
        if name not in self._in_flight:
            self._push(entry)

    def clear(self) -> None:
        """Forget all that waits; what is in flight stays in flight."""
        for waiting in (self._entries, self._ready, self._delayed):
            waiting.clear()

    async def get(self) -> QueueItem:
        """Wait for the due item of the highest priority; it is in flight until `done` is called with its name."""
        while True:
            self._changed.clear()
            self._promote()
            entry = self._pop()
            if entry is not None:
                self._in_flight.add(entry.name)
                return QueueItem(name=entry.name, priority=entry.priority, waited=max(0.0, self._clock() - entry.since))
            await self._wait_for_change()

    def done(self, name: str) -> None:
        """End the work on a name; if it was added meanwhile, it waits again."""
        self._in_flight.discard(name)
        if (entry := self._entries.get(name)) is not None:
            self._push(entry)

    def depth(self) -> Counter[Priority]:
        """Return the number of due items by class."""
        now = self._clock()
        return Counter(entry.priority for entry in self._entries.values() if entry.since <= now)

    def delayed(self) -> int:
        """Return the number of items whose time has not come."""
        now = self._clock()
        return sum(entry.since > now for entry in self._entries.values())

    def in_flight(self) -> int:
        """Return the number of items in flight."""
        return len(self._in_flight)

    def is_in_flight(self, name: str) -> bool:
        """Tell whether a name is in flight."""
        return name in self._in_flight

    def oldest_wait(self) -> float:
        """Return the seconds that the longest waiting due item has waited; 0 with none."""
        waiting = (entry.since for name, entry in self._entries.items() if name not in self._in_flight)
        return max(0.0, self._clock() - min(waiting, default=math.inf))

    def _push(self, entry: _Entry) -> None:
        if entry.since > self._clock():
            self._store(self._delayed, entry.since, entry)
        else:
            self._store(self._ready, self._rank(entry), entry)
        self._changed.set()

    def _store(self, heap: _Heap, key: float, entry: _Entry) -> None:
        heapq.heappush(heap, (key, entry.ticket, entry.name))
        if len(heap) > 2 * len(self._entries) + _SLACK:
            # A busy name supersedes its own delayed item again and again, long before that one would come up.
            heap[:] = [item for item in heap if self._current(item[2], item[1]) is not None]
            heapq.heapify(heap)

    def _rank(self, entry: _Entry) -> float:
        return entry.since + entry.priority * self._age_step

    def _promote(self) -> None:
        now = self._clock()
        while self._delayed and self._delayed[0][0] <= now:
            _, ticket, name = heapq.heappop(self._delayed)
            if (entry := self._current(name, ticket)) is not None:
                self._store(self._ready, self._rank(entry), entry)

    def _pop(self) -> _Entry | None:
        while self._ready:
            _, ticket, name = heapq.heappop(self._ready)
            if (entry := self._current(name, ticket)) is not None:
                del self._entries[name]
                return entry
        return None

    def _current(self, name: str, ticket: int) -> _Entry | None:
        entry = self._entries.get(name)
        return entry if entry is not None and entry.ticket == ticket and name not in self._in_flight else None

    async def _wait_for_change(self) -> None:
        timeout = self._delayed[0][0] - self._clock() if self._delayed else None
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return
