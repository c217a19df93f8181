"""When a failed instance is tried again, played through pass by pass from the status alone."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from customer_operator.errors import (
    AdmissionRefused,
    ClusterError,
    CredentialsLost,
    InstanceInvalid,
    LicenseRejected,
    NamespaceTaken,
    PermissionMissing,
)
from customer_operator.model.instance import CustomerInstance
from customer_operator.observed.state import Failure
from customer_operator.reconcile.retry import Retry, may_try
from customer_operator.status.record import StatusRecord
from tests.support.statuses import NOW, STUCK, WAITING, component, compute, make_generation, make_observed_state, record

RETRY = Retry(tries=3, delay=60.0)  # the defaults of the settings
OUTAGE = ClusterError("POST /api/v1/namespaces: 500 no reason given", status=500)
MISTAKE = LicenseRejected("it is not a JWT")


@dataclass
class Operator:
    """Passes over one instance, as the reconciler makes them; all it remembers between them is the status."""

    instance: CustomerInstance = field(default_factory=make_generation)
    status: dict[str, Any] = field(default_factory=dict)
    now: datetime = NOW
    tries: list[datetime] = field(default_factory=list)

    def look(self, error: Exception | None, *, resync: bool = False) -> float | None:
        """Make a pass: None when it has worked, else the seconds to wait for the next one (0: no use to wait)."""
        wait = may_try(self.instance, record(self.status), resync=resync, now=self.now)
        if wait is None:
            self.tries.append(self.now)
            failure = error and RETRY.failure(error, instance=self.instance, previous=record(self.status), now=self.now)
            observed = (
                make_observed_state(desired_count=0, components=(), failure=failure)
                if failure
                else make_observed_state()
            )
            self.status = compute(observed, previous=self.status, instance=self.instance, now=self.now)
        return wait

    def later(self, seconds: float) -> "Operator":
        self.now += timedelta(seconds=seconds)
        return self

    def exhausted(self) -> "Operator":
        for delay in (0, 60, 120):
            self.later(delay).look(OUTAGE)
        assert self.status["phase"] == "Failed"
        return self


def test_three_tries_are_made_after_one_and_two_minutes_and_then_no_more() -> None:
    operator = Operator()
    for _ in range(1000):
        operator.look(OUTAGE)
        operator.later(1)

    assert [(moment - NOW).total_seconds() for moment in operator.tries] == [0, 60, 180]
    assert (operator.status["phase"], operator.status["attempts"]) == ("Failed", 3)


def test_the_status_counts_down_to_the_next_try() -> None:
    operator = Operator()
    operator.look(OUTAGE)

    assert (operator.status["attempts"], operator.status["nextAttemptAt"]) == (1, "2026-11-21T12:02:00Z")
    assert operator.status["message"].startswith("try 1 of 3 failed, the next one is at 2026-11-21T12:02:00Z: POST")
    assert operator.later(20).look(OUTAGE) == 40.0


def test_a_restart_of_the_operator_neither_forgets_nor_hastens_a_try() -> None:
    operator = Operator()
    operator.look(OUTAGE)
    reborn = Operator(status=dict(operator.status), now=operator.now + timedelta(seconds=30))

    assert reborn.look(OUTAGE, resync=True) == 30.0
    assert reborn.later(30).look(OUTAGE) is None
    assert reborn.status["attempts"] == 2


def test_success_ends_the_series() -> None:
    operator = Operator()
    operator.look(OUTAGE)
    operator.later(60).look(None)

    assert (operator.status["phase"], operator.status["attempts"]) == ("Ready", 0)
    operator.later(1).look(OUTAGE)
    assert operator.status["attempts"] == 1


def test_after_giving_up_only_the_resync_tries_again_once_each_time_and_stays_stalled() -> None:
    operator = Operator().exhausted()

    assert operator.later(1).look(OUTAGE) == 0.0
    assert operator.later(600).look(OUTAGE, resync=True) is None
    assert (operator.status["phase"], operator.status["attempts"]) == ("Failed", 4)
    assert operator.later(1).look(OUTAGE) == 0.0
    assert operator.later(600).look(None, resync=True) is None
    assert operator.status["phase"] == "Ready"


def test_a_changed_spec_is_tried_at_once_and_has_all_its_tries() -> None:
    operator = Operator().exhausted()
    operator.instance = make_generation(generation=2)

    assert operator.later(1).look(OUTAGE) is None
    assert operator.status["attempts"] == 1
    assert operator.status["phase"] != "Failed"


def test_a_changed_spec_need_not_wait_for_the_next_try_of_the_old_one() -> None:
    operator = Operator()
    operator.look(OUTAGE)
    operator.instance = make_generation(generation=2)

    assert operator.later(1).look(OUTAGE) is None
    assert operator.status["attempts"] == 1


# -- the annotation iotistic.cloud/retry-at --------------------------------------------------------------------------


def asked(operator: Operator, seconds: float) -> Operator:
    moment = operator.now + timedelta(seconds=seconds)
    operator.instance = replace(operator.instance, retry_at=moment.isoformat())
    return operator


@pytest.mark.parametrize("seconds", [0, -1, -86_400 * 365])
def test_an_instance_that_was_given_up_is_tried_when_the_annotation_asks_for_it(seconds: float) -> None:
    operator = asked(Operator().exhausted().later(1), seconds)

    assert operator.look(None) is None
    assert operator.status["phase"] == "Ready"


def test_an_annotation_ahead_of_its_time_is_waited_for() -> None:
    operator = asked(Operator().exhausted().later(1), 25)

    assert operator.look(OUTAGE) == 25.0
    assert operator.later(25).look(None) is None


@pytest.mark.parametrize("error", [OUTAGE, MISTAKE, AdmissionRefused("422", status=422)])
def test_an_annotation_is_answered_by_one_try_and_not_by_a_hot_loop(error: Exception) -> None:
    operator = asked(Operator().exhausted().later(1), 0)
    before = len(operator.tries)
    for _ in range(100):
        operator.look(error)
        operator.later(0.1)

    assert len(operator.tries) == before + 1


def test_an_annotation_brings_the_next_try_forward_without_burning_the_others() -> None:
    operator = Operator()
    operator.look(OUTAGE)
    asked(operator.later(10), 0)
    for _ in range(100):
        operator.look(OUTAGE)
        operator.later(1)

    assert [(moment - NOW).total_seconds() for moment in operator.tries] == [0, 10]
    assert operator.status["attempts"] == 2


def test_a_second_request_is_answered_like_the_first() -> None:
    operator = asked(Operator().exhausted().later(1), 0)
    operator.look(OUTAGE)
    asked(operator.later(1), -3600)
    before = len(operator.tries)

    assert operator.look(OUTAGE) is None
    assert operator.look(OUTAGE) == 0.0
    assert len(operator.tries) == before + 1


@pytest.mark.parametrize("text", ["", "now", "tomorrow", "0001-01-01T00:00:00+14:00"])
def test_an_annotation_that_names_no_time_is_ignored(text: str) -> None:
    operator = Operator().exhausted()
    operator.instance = make_generation(retry_at=text)

    assert operator.later(1).look(OUTAGE) == 0.0


# -- which errors count, and how they read ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MISTAKE, "LicenseInvalid"),
        (InstanceInvalid("spec.plan", "x"), "InvalidSpec"),
        (NamespaceTaken("customer-acme", None), "NamespaceTaken"),
        (CredentialsLost("customer-acme"), "CredentialsLost"),
        (AdmissionRefused("PATCH …: 422 spec.replicas", status=422), "Refused"),
    ],
)
def test_a_mistake_is_reported_at_once_and_not_retried(error: Exception, reason: str) -> None:
    failure = RETRY.failure(error, instance=make_generation(), previous=StatusRecord(), now=NOW)

    assert (failure.reason, failure.attempts, failure.next_attempt_at) == (reason, 0, None)
    assert str(error) in failure.message


def test_a_mistake_is_looked_at_again_by_the_resync_and_by_a_changed_spec() -> None:
    operator = Operator()
    operator.look(MISTAKE)

    assert operator.later(1).look(MISTAKE) == 0.0
    assert operator.later(600).look(MISTAKE, resync=True) is None
    operator.instance = make_generation(generation=2)
    assert operator.later(1).look(None) is None


@pytest.mark.parametrize(
    ("error", "reason", "text"),
    [
        (PermissionMissing("GET x: 403 y", status=403), "PermissionMissing", "GET x: 403 y"),
        (OUTAGE, "ReconcileFailed", "500 no reason given"),
        (KeyError("password=hunter2"), "ReconcileFailed", "an unexpected KeyError, see the log"),
    ],
)
def test_an_outage_is_retried_and_an_unexpected_error_shows_none_of_its_content(
    error: Exception, reason: str, text: str
) -> None:
    failure = RETRY.failure(error, instance=make_generation(), previous=StatusRecord(), now=NOW)

    assert failure.reason == reason
    assert text in failure.message
    assert "hunter2" not in failure.message
    assert failure.next_attempt_at == NOW + timedelta(seconds=60)


def test_a_single_try_is_given_up_at_once() -> None:
    failure = Retry(tries=1, delay=60).failure(OUTAGE, instance=make_generation(), previous=StatusRecord(), now=NOW)

    assert failure.next_attempt_at is None
    assert failure.message.startswith("gave up after 1 try: ")


def test_the_delay_doubles_but_stays_within_a_day_however_many_tries_there_are() -> None:
    previous = StatusRecord(attempts=4000, observed_generation=1)

    failure = Retry(tries=10_000, delay=60).failure(OUTAGE, instance=make_generation(), previous=previous, now=NOW)

    assert failure.next_attempt_at is not None
    assert failure.next_attempt_at - NOW <= timedelta(days=1)


# -- what is not a failed try ----------------------------------------------------------------------------------------


def test_a_stuck_component_is_watched_although_the_phase_is_failed() -> None:
    """Otherwise an image that can be pulled at last would stay unnoticed until the resync."""
    stuck = compute(make_observed_state(components=(component(STUCK),)))

    assert stuck["phase"] == "Failed"
    assert may_try(make_generation(), record(stuck), resync=False, now=NOW) is None


def test_a_failed_try_of_a_stuck_instance_still_waits_for_its_time() -> None:
    failure = Failure(reason="ReconcileFailed", message="x", attempts=1, next_attempt_at=NOW + timedelta(seconds=60))
    status = compute(make_observed_state(components=(component(STUCK),), failure=failure))

    assert may_try(make_generation(), record(status), resync=False, now=NOW) == 60.0
    assert may_try(make_generation(), record(status), resync=False, now=NOW + timedelta(seconds=60)) is None


@pytest.mark.parametrize(
    "status",
    [
        {},
        compute(make_observed_state()),
        compute(make_observed_state(components=(component(WAITING),))),
        compute(make_observed_state(suspended="x")),
    ],
)
def test_an_instance_without_a_failure_may_always_be_looked_at(status: dict[str, Any]) -> None:
    assert may_try(make_generation(), record(status), resync=False, now=datetime.now(UTC)) is None
