"""When a failed instance is tried again; pure, computed from the status alone, so that a restart changes nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from customer_operator.errors import AdmissionRefused, PermissionMissing, UserError
from customer_operator.instance import CustomerInstance
from customer_operator.status import Failure, Phase, Status
from customer_operator.timestamps import format_time, parse_time


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff: `tries` tries, the first retry after `delay` seconds, each later after twice the time."""

    tries: int
    delay: float

    def failure(self, error: Exception, previous: Status, now: datetime) -> Failure:
        """Return how an error of this pass is reported, and when it is tried again, if at all by itself.

        A user's mistake is not retried: only a change of the spec can cure it.
        """
        if isinstance(error, UserError):
            return Failure(reason=error.reason, message=str(error))
        if isinstance(error, AdmissionRefused):
            return Failure(reason="Refused", message=f"the API server refuses an object: {error}")
        attempts = 1 if previous.get("phase") == Phase.FAILED else int(previous.get("attempts", 0)) + 1
        reason = "PermissionMissing" if isinstance(error, PermissionMissing) else "ReconcileFailed"
        if attempts >= self.tries:
            text = f"gave up after {attempts} tries: {error}; it is tried again at the next resync"
            return Failure(reason=reason, message=text, attempts=attempts)
        again = now + timedelta(seconds=self.delay * 2 ** (attempts - 1))
        text = f"try {attempts} of {self.tries} failed, the next one is at {format_time(again)}: {error}"
        return Failure(reason=reason, message=text, attempts=attempts, next_attempt_at=again)


def may_try(instance: CustomerInstance, previous: Status, *, resync: bool, now: datetime) -> float | None:
    """Tell whether a pass may work: None for yes, else the seconds until it may (0: only a change or the resync helps).

    A changed spec is always tried at once; so is the annotation iotistic.cloud/retry-at when its time has come.
    """
    if previous.get("observedGeneration") != instance.generation:
        return None
    waits = [] if (asked := _asked_at(instance, previous)) is None else [(asked - now).total_seconds()]
    if previous.get("phase") == Phase.FAILED:
        if resync:
            return None
    elif (again := parse_time(previous.get("nextAttemptAt"))) is not None:
        waits.append((again - now).total_seconds())
    else:
        return None
    wait = min(waits, default=0.0)
    return None if waits and wait <= 0 else max(0.0, wait)


def _asked_at(instance: CustomerInstance, previous: Status) -> datetime | None:
    """Return the time that the retry annotation names, unless it has been followed: the last failure is later then."""
    asked = parse_time(instance.retry_at)
    failed = max(
        (
            parse_time(item["lastTransitionTime"]) or _EPOCH
            for item in previous.get("conditions", ())
            if item["type"] in ("Stalled", "Reconciling")
        ),
        default=_EPOCH,
    )
    return asked if asked is not None and asked > failed else None


_EPOCH = datetime.fromtimestamp(0).astimezone()
