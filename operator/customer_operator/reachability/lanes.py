"""When instances are due to be tried, in two lanes: those that fail again and again cannot hold up the others; pure."""

import heapq
from typing import Final

# Entries that count no more, beyond as many as there are instances, before they are thrown out.
_LITTER: Final = 64


class Lane:
    """Names by the time at which they are due; one that is put again is due at the new time alone."""

    def __init__(self) -> None:
        """Start empty."""
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._due)

    def put(self, name: str, due: float) -> None:
        """Have a name due at a time."""
        self._due[name] = due
        heapq.heappush(self._heap, (due, name))
        if len(self._heap) > 2 * len(self._due) + _LITTER:
            self._heap = [(due, name) for name, due in self._due.items()]
            heapq.heapify(self._heap)

    def drop(self, name: str) -> None:
        """Have a name due no more."""
        self._due.pop(name, None)

    def first(self) -> float | None:
        """Return when the next one is due; None when there is none."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> str | None:
        """Take out the one that has been due longest; None when none is."""
        first = self.first()
        if first is None or first > now:
            return None
        name = heapq.heappop(self._heap)[1]
        del self._due[name]
        return name


class Lanes:
    """The lane of those that fail, which may have half of the places, and that of all others.

    They take turns where both have somebody who is due, so that neither starves the other.
    """

    def __init__(self, places: int) -> None:
        """Take how many may be in flight at once."""
        self._usual, self._failing = Lane(), Lane()
        self._reserved = max(1, places // 2)
        self._in_flight: set[str] = set()  # of those that fail
        self._failing_next = False

    def put(self, name: str, due: float, *, failing: bool) -> None:
        """Have a name due at a time, in this lane and no other."""
        self.drop(name)
        (self._failing if failing else self._usual).put(name, due)

    def drop(self, name: str) -> None:
        """Have a name due no more."""
        self._usual.drop(name)
        self._failing.drop(name)

    def take(self, now: float) -> str | None:
        """Return who is to be tried now; None when nobody is due, or all places for them are taken."""
        takes = (self._take_failing, self._take_usual) if self._failing_next else (self._take_usual, self._take_failing)
        return next((name for take in takes if (name := take(now)) is not None), None)

    def _take_usual(self, now: float) -> str | None:
        if (name := self._usual.take(now)) is not None:
            self._failing_next = True
        return name

    def _take_failing(self, now: float) -> str | None:
        if not self._has_room() or (name := self._failing.take(now)) is None:
            return None
        self._failing_next = False
        self._in_flight.add(name)
        return name

    def done(self, name: str) -> None:
        """Take in that one who was taken has been tried."""
        self._in_flight.discard(name)

    def wait(self, now: float) -> float | None:
        """Return the seconds until somebody is due for whom there is a place; None when nobody will be."""
        times = (self._usual.first(), self._failing.first() if self._has_room() else None)
        return min((max(0.0, due - now) for due in times if due is not None), default=None)

    def _has_room(self) -> bool:
        return len(self._in_flight) < self._reserved
