"""When a failed instance is tried again; pure, computed from the status alone, so that a restart changes nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from customer_operator.errors import AdmissionRefused, OperatorError, PermissionMissing, UserError
from customer_operator.model.instance import CustomerInstance
from customer_operator.model.timestamps import format_time, parse_time
from customer_operator.observed.state import Failure
from customer_operator.status.compute import COMPONENT_STUCK
from customer_operator.status.record import Phase, StatusRecord

_MOST_DOUBLINGS = 10  # of the delay between two tries: 60 s become 17 hours at most


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff: `tries` tries, the first retry after `delay` seconds, each later after twice the time."""

    tries: int
    delay: float

    def failure(
        self, error: Exception, *, instance: CustomerInstance, previous: StatusRecord, now: datetime
    ) -> Failure:
        """Return how an error of this pass is reported, and when it is tried again, if at all by itself.

        A user's mistake is not retried: only a change of the spec can cure it. Tries count in a row, those after
        giving up included, and from the start for a new spec.
        """
        if isinstance(error, UserError):
            return Failure(reason=error.reason, message=str(error))
        if isinstance(error, AdmissionRefused):
            return Failure(reason="Refused", message=f"the API server refuses an object: {error}")
        seen = previous.observed_generation == instance.generation
        attempts = 1 + (previous.attempts if seen else 0)
        reason = "PermissionMissing" if isinstance(error, PermissionMissing) else "ReconcileFailed"
        if attempts >= self.tries:
            tries = "1 try" if attempts == 1 else f"{attempts} tries"
            text = f"gave up after {tries}: {_describe(error)}; it is tried again at the next resync"
            return Failure(reason=reason, message=text, attempts=attempts)
        again = now + timedelta(seconds=self.delay * 2 ** min(attempts - 1, _MOST_DOUBLINGS))
        text = f"try {attempts} of {self.tries} failed, the next one is at {format_time(again)}: {_describe(error)}"
        return Failure(reason=reason, message=text, attempts=attempts, next_attempt_at=again)


def may_try(instance: CustomerInstance, previous: StatusRecord, *, resync: bool, now: datetime) -> float | None:
    """Tell whether a pass may work: None for yes, else the seconds until it may (0: only a change or the resync helps).

    A changed spec is always tried at once; so is the annotation iotistic.cloud/retry-at when its time has come.
    """
    if previous.observed_generation != instance.generation:
        return None
    again = previous.next_attempt_at
    if again is None and (resync or not _gave_up(previous)):
        return None
    moments = [moment for moment in (again, _asked_at(instance, previous)) if moment is not None]
    if not moments:
        return 0.0
    wait = (min(moments) - now).total_seconds()
    return wait if wait > 0 else None


def is_asked_for(instance: CustomerInstance, previous: StatusRecord, *, now: datetime) -> bool:
    """Tell whether the annotation iotistic.cloud/retry-at asks for this very pass."""
    asked = _asked_at(instance, previous)
    return asked is not None and asked <= now


def _gave_up(previous: StatusRecord) -> bool:
    """Tell whether the last pass failed for good; a stuck component is no failed pass, and may still come up."""
    return previous.phase is Phase.FAILED and previous.reason_of("Stalled") != COMPONENT_STUCK


def _asked_at(instance: CustomerInstance, previous: StatusRecord) -> datetime | None:
    """Return the time that the retry annotation names, unless it has been answered (status.lastHandledRetryAt)."""
    asked = parse_time(instance.retry_at)
    return asked if format_time(asked) != format_time(previous.last_handled_retry_at) else None


def _describe(error: Exception) -> str:
    """Return an error's text if it was raised on purpose; any other may hold what must not be shown."""
    return str(error) if isinstance(error, OperatorError) else f"an unexpected {type(error).__name__}, see the log"
