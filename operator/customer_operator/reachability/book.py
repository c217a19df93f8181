"""The book of who is reachable: one small record for each instance whose devices come through the front door; pure.

What it does not know after a start is what the status says: nobody is worse for a restart.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from customer_operator.observed.readiness import Readiness
from customer_operator.reachability.lanes import Lanes
from customer_operator.reachability.outcome import REACHED, REASONS, UNTRIED, Outcome, ProbeFailed, failed

# Seconds. A single lost packet makes nobody unreachable: the second try decides.
_SECOND_TRY: Final = 2.0
_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 60.0
# Until an instance whose credentials nobody has read yet is looked at again.
_UNKNOWN_LOGIN_DELAY: Final = 5.0
# One try after the other, however many are due: beyond ROUTER_SOURCE_RATE (1000 in ten seconds) the front door turns
# everybody away who comes from here, and those who come again would keep it so. A try makes two connections at most. A
# few may come at once.
_SPACING: Final = 0.025
_AT_ONCE: Final = 50
# Failures of one that was unreachable before a start: it does not begin among those that may be reachable.
_FAILED_BEFORE: Final = 2
# A slow interval is longer or shorter by so much of it, lest all come together for ever that once did.
_JITTER: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What may make a difference to whether a broker can be reached.

    `route` is its line at the front door, `workload` the hash that its StatefulSet was applied with, certificate and
    configuration included.
    """

    host: str
    route: str
    workload: str | None
    running: bool
    generation: int

    def differs(self, other: "Subject") -> bool:
        """Tell whether even one that is reachable has to be tried again."""
        return (self.host, self.route, self.workload, self.running) != (
            other.host,
            other.route,
            other.workload,
            other.running,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One try of an instance, from when it was taken; no two are the same."""

    name: str
    subject: Subject


@dataclass(slots=True)
class _Record:
    subject: Subject
    readiness: Readiness
    failures: int = 0
    attempt: Attempt | None = None  # in flight

    def asks_for_more(self, before: Subject) -> bool:
        """Tell whether it has to be tried again, since it was another one before."""
        return self.subject.differs(before) if self.readiness.ready else self.subject != before


class ReachabilityBook:
    """Who is to be tried when, and what has come of it."""

    def __init__(
        self, *, interval: float, places: int, clock: Callable[[], float], random: Callable[[], float]
    ) -> None:
        """Take the slow interval (seconds), and how many are tried at once.

        `clock` returns seconds and never goes back, `random` a number of [0, 1).
        """
        self._interval = interval
        self._clock = clock
        self._random = random
        self._lanes = Lanes(places)
        self._places = places
        self._records: dict[str, _Record] = {}
        self._next = clock()  # when one more try would come, had all come one after the other
        self._due_changed: Callable[[], None] = lambda: None
        self._instances_changed: Callable[[Iterable[str]], None] = lambda names: None

    def follow(
        self,
        *,
        due_changed: Callable[[], None] | None = None,
        instances_changed: Callable[[Iterable[str]], None] | None = None,
    ) -> None:
        """Set who is told: that somebody may be due, and of instances whose readiness is another one."""
        self._due_changed = due_changed or self._due_changed
        self._instances_changed = instances_changed or self._instances_changed

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._records)

    @property
    def unreachable(self) -> int:
        """The number of instances whose brokers no device reaches."""
        return sum(record.readiness.reason in REASONS for record in self._records.values())

    # -- what passes say ----------------------------------------------------------------------------------------------

    def readiness(self, name: str, subject: Subject, *, recorded: Readiness | None) -> Readiness:
        """Return whether devices reach the broker, as far as is known; it is tried as soon as that may be different.

        `recorded` is what the status says of it, which holds until the first try; None when that is nothing.
        """
        record = self._records.get(name)
        if record is None:
            failures = _FAILED_BEFORE if recorded is not None and not recorded.ready else 0
            record = self._records[name] = _Record(subject, recorded or UNTRIED, failures)
            self._plan(name, record, self._first_due(record))
        elif record.subject != subject:
            self._update(name, record, subject)
        return record.readiness

    def forget(self, name: str) -> None:
        """Drop an instance whose devices do not come through the front door, or not any more."""
        self._lanes.drop(name)
        self._lanes.done(name)
        self._records.pop(name, None)

    def clear(self) -> None:
        """Forget everything, as somebody else may be trying."""
        self._records.clear()
        self._lanes = Lanes(self._places)

    def _first_due(self, record: _Record) -> float:
        """Return when one that was not known is tried: at once if it is new, else some time within the interval."""
        if record.readiness is UNTRIED:
            return self._clock()
        within = self._interval if record.readiness.ready else min(self._interval, _LONGEST_DELAY)
        return self._clock() + within * self._random()

    def _update(self, name: str, record: _Record, subject: Subject) -> None:
        before, record.subject = record.subject, subject
        if record.attempt is None and record.asks_for_more(before):
            record.failures = 0
            self._plan(name, record, self._clock())

    def _plan(self, name: str, record: _Record, due: float) -> None:
        # A broker that is not running is not tried for the first time: everybody knows how that would end.
        if record.subject.running or record.readiness.ready:
            self._lanes.put(name, due, failing=record.failures > 1)
            self._due_changed()
        else:
            self._lanes.drop(name)

    # -- what the prober does -----------------------------------------------------------------------------------------

    def take(self) -> Attempt | None:
        """Return who is to be tried now, and as what; None when nobody is."""
        now = self._clock()
        name = None if self._pause(now) else self._lanes.take(now)
        if name is None:
            return None
        self._next = max(self._next, now) + _SPACING
        record = self._records[name]
        record.attempt = Attempt(name, record.subject)
        return record.attempt

    def wait(self) -> float | None:
        """Return the seconds until somebody is due; None when nobody will be."""
        now = self._clock()
        wait = self._lanes.wait(now)
        return None if wait is None else max(wait, self._pause(now))

    def _pause(self, now: float) -> float:
        """Return the seconds before which nobody may be tried."""
        return max(0.0, self._next - _AT_ONCE * _SPACING - now)

    def postpone(self, attempt: Attempt) -> None:
        """Take in that one who was taken could not be tried yet."""
        if (record := self._end(attempt)) is not None:
            self._plan(attempt.name, record, self._clock() + _UNKNOWN_LOGIN_DELAY)

    def finish(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Take in what came of one who was taken; what has changed since is tried again.

        True when its readiness is another one now.
        """
        if (record := self._end(attempt)) is None:
            return False
        before = record.readiness
        if record.asks_for_more(attempt.subject):
            record.failures, delay = 0, 0.0
        elif outcome.failure is None:
            record.failures, delay = 0, self._slowly()
            self._set(attempt.name, record, REACHED)
        else:
            record.failures += 1
            delay = self._fail(attempt.name, record, outcome.failure)
        self._plan(attempt.name, record, self._clock() + delay)
        return record.readiness != before

    def _fail(self, name: str, record: _Record, failure: ProbeFailed) -> float:
        """Take in a failure, and return after how many seconds to try again."""
        if record.readiness.ready and record.failures == 1:
            return _SECOND_TRY
        self._set(name, record, failed(failure))
        return min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(record.failures - 1, 10))

    def _end(self, attempt: Attempt) -> _Record | None:
        """Return the record of one whose try has ended; None when it is gone, or another one of that name is there."""
        self._lanes.done(attempt.name)
        self._due_changed()
        record = self._records.get(attempt.name)
        if record is None or record.attempt is not attempt:
            return None
        record.attempt = None
        return record

    def _set(self, name: str, record: _Record, readiness: Readiness) -> None:
        if record.readiness != readiness:
            record.readiness = readiness
            self._instances_changed([name])

    def _slowly(self) -> float:
        return self._interval * (1 + _JITTER * (2 * self._random() - 1))
