"""When a shard may be written: its first change at once, those that follow together, once in an interval; pure."""

from collections.abc import Callable
from typing import Final

_LONGEST_DELAY: Final = 30.0  # seconds between tries
_FIRST_DELAY: Final = 0.5


class Pacing:
    """Shards that wait to be looked at, each with the time before which it may not be written (again)."""

    def __init__(self, *, interval: float, clock: Callable[[], float]) -> None:
        """Take the interval in seconds, and a clock that returns seconds and never goes back."""
        self._interval = interval
        self._clock = clock
        self._since: dict[int, float] = {}
        self._not_before: dict[int, float] = {}
        self._failures: dict[int, int] = {}

    def __len__(self) -> int:
        """Return the number of shards that wait."""
        return len(self._since)

    def clear(self) -> None:
        """Forget all that was, as somebody else may have been writing."""
        for known in (self._since, self._not_before, self._failures):
            known.clear()

    def mark(self, shard: int) -> None:
        """Have a shard looked at as soon as it may be written."""
        self._since.setdefault(shard, self._clock())

    def take(self) -> tuple[int, float] | None:
        """Return the shard that has waited longest of those that may be written, with its time; it waits no longer."""
        due = [(since, shard) for shard, since in self._since.items() if self._due_at(shard) <= self._clock()]
        if not due:
            return None
        since, shard = min(due)
        del self._since[shard]
        return shard, since

    def wait(self) -> float | None:
        """Return the seconds until one of the shards that wait may be written; None when none waits."""
        return min((max(0.0, self._due_at(shard) - self._clock()) for shard in self._since), default=None)

    def settled(self, shard: int) -> None:
        """Take in that a shard is as it should be: failures of before, of which some were none, are over."""
        self._failures.pop(shard, None)

    def wrote(self, shard: int) -> None:
        """Take in that a shard was written."""
        self.settled(shard)
        self._not_before[shard] = self._clock() + self._interval

    def failed(self, shard: int, *, since: float) -> None:
        """Take in that a shard, which waits since then, could not be written: it is tried again, ever more slowly."""
        tries = self._failures.get(shard, 0)
        self._failures[shard] = tries + 1
        delay = min(_LONGEST_DELAY, max(self._interval, _FIRST_DELAY * 2 ** min(tries, 10)))
        self._since[shard] = since
        self._not_before[shard] = self._clock() + delay

    def _due_at(self, shard: int) -> float:
        return max(self._since[shard], self._not_before.get(shard, self._since[shard]))
