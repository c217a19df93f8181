"""Phase, message and conditions, computed from what exists."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from customer_operator.licensing.entitlement import LicenseStatus
from customer_operator.observed.state import Failure, ObservedState
from customer_operator.status.compute import COMPONENT_STUCK
from tests.support.statuses import (
    NOW,
    STUCK,
    WAITING,
    component,
    compute,
    condition,
    holds,
    make_generation,
    make_observed_state,
)

RETRIED = Failure(
    reason="ReconcileFailed", message="try 1 of 3", attempts=1, next_attempt_at=NOW + timedelta(minutes=1)
)
GIVEN_UP = Failure(reason="ReconcileFailed", message="gave up", attempts=3)
REFUSED = Failure(reason="LicenseInvalid", message="spec.license: it is not a JWT")

NOTHING = make_observed_state(
    namespace_ready=False, quota_enforced=False, applied_count=0, desired_count=0, components=()
)
APPLYING = make_observed_state(
    quota_enforced=False, applied_count=5, components=(component(None), component(None, name="api"))
)
COMING_UP = make_observed_state(components=(component(), component(WAITING, name="api")))
WEDGED = make_observed_state(components=(component(), component(STUCK, name="api")))
HEALTHY = make_observed_state()
RESTING = make_observed_state(suspended="suspended by spec.suspend; all data is kept")
SCALING_DOWN = make_observed_state(
    suspended="suspended by spec.suspend; all data is kept", components=(component(WAITING),)
)

NEW: dict[str, Any] = {}
READY = compute(HEALTHY)
UPDATING = compute(COMING_UP, previous=READY, instance=make_generation(generation=2))
DEGRADED = compute(COMING_UP, previous=READY)
SUSPENDED = compute(RESTING, previous=READY)
FAILED = compute(make_observed_state(failure=GIVEN_UP), previous=READY)
PROVISIONING = compute(APPLYING)
BORN_SUSPENDED = compute(RESTING)


def phase_of(observed: ObservedState, previous: dict[str, Any], generation: int = 1) -> str:
    return str(compute(observed, previous=previous, instance=make_generation(generation=generation))["phase"])


@pytest.mark.parametrize(
    ("observed", "previous", "phase"),
    [
        (NOTHING, NEW, "Pending"),
        (make_observed_state(applied_count=0, desired_count=0, components=()), NEW, "Pending"),
        (APPLYING, NEW, "Provisioning"),
        (COMING_UP, PROVISIONING, "Provisioning"),
        (HEALTHY, PROVISIONING, "Ready"),
        (WEDGED, PROVISIONING, "Failed"),
        (COMING_UP, compute(WEDGED), "Provisioning"),
        (HEALTHY, compute(WEDGED), "Ready"),
        (RESTING, PROVISIONING, "Suspended"),
        (make_observed_state(failure=RETRIED), PROVISIONING, "Provisioning"),
        (make_observed_state(desired_count=0, failure=RETRIED), NEW, "Pending"),
        (make_observed_state(desired_count=0, failure=REFUSED), NEW, "Failed"),
    ],
)
def test_a_new_instance_is_pending_then_provisioning_then_ready(
    observed: ObservedState, previous: dict[str, Any], phase: str
) -> None:
    assert phase_of(observed, previous) == phase


@pytest.mark.parametrize(
    ("observed", "previous", "generation", "phase"),
    [
        (HEALTHY, READY, 1, "Ready"),
        (COMING_UP, READY, 1, "Degraded"),
        (APPLYING, READY, 1, "Degraded"),
        (WEDGED, READY, 1, "Degraded"),
        (COMING_UP, DEGRADED, 1, "Degraded"),
        (HEALTHY, DEGRADED, 1, "Ready"),
        (COMING_UP, READY, 2, "Updating"),
        (COMING_UP, UPDATING, 2, "Updating"),
        (WEDGED, UPDATING, 2, "Degraded"),
        (HEALTHY, UPDATING, 2, "Ready"),
        (make_observed_state(plan="professional", components=COMING_UP.components), READY, 1, "Updating"),
        (make_observed_state(desired_count=0, failure=RETRIED), READY, 1, "Degraded"),
        (make_observed_state(desired_count=0, failure=RETRIED), READY, 2, "Updating"),
        (make_observed_state(failure=GIVEN_UP), READY, 1, "Failed"),
        (make_observed_state(desired_count=0, failure=REFUSED), READY, 2, "Failed"),
        (COMING_UP, FAILED, 1, "Updating"),
        (HEALTHY, FAILED, 1, "Ready"),
    ],
)
def test_an_instance_that_has_been_ready_is_updating_when_asked_and_degraded_when_not(
    observed: ObservedState, previous: dict[str, Any], generation: int, phase: str
) -> None:
    assert phase_of(observed, previous, generation) == phase


@pytest.mark.parametrize(
    ("observed", "previous", "generation", "phase"),
    [
        (SCALING_DOWN, READY, 2, "Updating"),
        (SCALING_DOWN, READY, 1, "Updating"),
        (RESTING, READY, 2, "Suspended"),
        (RESTING, SUSPENDED, 1, "Suspended"),
        (SCALING_DOWN, SUSPENDED, 1, "Updating"),
        (COMING_UP, SUSPENDED, 2, "Updating"),
        (COMING_UP, SUSPENDED, 1, "Updating"),
        (HEALTHY, SUSPENDED, 2, "Ready"),
        (COMING_UP, BORN_SUSPENDED, 2, "Updating"),
        (COMING_UP, compute(COMING_UP, previous=BORN_SUSPENDED), 1, "Updating"),
        (SCALING_DOWN, BORN_SUSPENDED, 1, "Updating"),
    ],
)
def test_suspending_and_resuming_are_updates(
    observed: ObservedState, previous: dict[str, Any], generation: int, phase: str
) -> None:
    assert phase_of(observed, previous, generation) == phase


@pytest.mark.parametrize(
    ("observed", "previous", "ready", "reconciling", "stalled", "reason"),
    [
        (NOTHING, NEW, False, True, False, "Pending"),
        (APPLYING, NEW, False, True, False, "Provisioning"),
        (HEALTHY, NEW, True, False, False, "Ready"),
        (COMING_UP, READY, False, True, False, "Degraded"),
        (WEDGED, NEW, False, False, True, COMPONENT_STUCK),
        (WEDGED, READY, False, False, True, COMPONENT_STUCK),
        (RESTING, READY, False, False, False, "Suspended"),
        (make_observed_state(failure=RETRIED), READY, False, True, False, "ReconcileFailed"),
        (make_observed_state(failure=GIVEN_UP), READY, False, False, True, "ReconcileFailed"),
        (make_observed_state(failure=REFUSED), NEW, False, False, True, "LicenseInvalid"),
        (
            make_observed_state(failure=RETRIED, components=WEDGED.components),
            NEW,
            False,
            True,
            False,
            "ReconcileFailed",
        ),
    ],
)
def test_conditions_read_as_kstatus_expects(
    observed: ObservedState, previous: dict[str, Any], *, ready: bool, reconciling: bool, stalled: bool, reason: str
) -> None:
    computed = compute(observed, previous=previous)

    assert [holds(computed, kind) for kind in ("Ready", "Reconciling", "Stalled")] == [ready, reconciling, stalled]
    assert {condition(computed, kind)["reason"] for kind in ("Ready", "Reconciling", "Stalled")} == {reason}
    assert condition(computed, "Ready")["message"] == computed["message"]


@pytest.mark.parametrize(
    ("observed", "message"),
    [
        (NOTHING, "accepted; waiting for its turn"),
        (make_observed_state(namespace_ready=False, applied_count=0, components=()), "creating the namespace"),
        (APPLYING, "5 of 10 objects are applied"),
        (
            make_observed_state(components=(component(WAITING), component(None, name="api"))),
            "waiting for postgres, api",
        ),
        (WEDGED, "api is stuck: the rollout is stuck"),
        (HEALTHY, "everything is ready"),
        (RESTING, "suspended by spec.suspend; all data is kept"),
        (make_observed_state(failure=REFUSED), "spec.license: it is not a JWT"),
        (make_observed_state(license=LicenseStatus(state="Grace", ok=False, message="renew it")), "renew it"),
    ],
)
def test_the_message_says_what_is_going_on(observed: ObservedState, message: str) -> None:
    assert compute(observed)["message"] == message


@pytest.mark.parametrize(
    ("readiness", "value", "reason", "message"),
    [
        (component().readiness, "True", "Ready", "postgres is ready"),
        (None, "False", "NotCreated", "postgres does not exist yet"),
        (WAITING, "False", "NotReady", "0 of 1 replicas are available"),
        (STUCK, "False", "Stuck", "the rollout is stuck"),
    ],
)
def test_each_component_has_a_condition_of_its_own(readiness: Any, value: str, reason: str, message: str) -> None:
    found = condition(compute(make_observed_state(components=(component(readiness),))), "PostgresReady")

    assert (found["status"], found["reason"], found["message"]) == (value, reason, message)


def test_the_license_is_reported_in_its_own_words() -> None:
    reading = LicenseStatus(
        state="Grace", expires_at=NOW, key_id="k1", ok=False, reason="InGrace", message="renew it before tomorrow"
    )

    computed = compute(make_observed_state(license=reading))

    assert computed["license"] == {"state": "Grace", "expiresAt": "2026-11-21T12:01:00Z", "keyId": "k1"}
    found = condition(computed, "LicenseValid")
    assert (found["status"], found["reason"], found["message"]) == ("False", "InGrace", "renew it before tomorrow")
    assert computed["phase"] == "Ready"


def test_a_failure_is_reported_with_its_tries_and_the_next_one() -> None:
    computed = compute(make_observed_state(failure=RETRIED))

    assert (computed["attempts"], computed["nextAttemptAt"]) == (1, "2026-11-21T12:02:00Z")


def test_giving_up_leaves_no_next_try() -> None:
    computed = compute(make_observed_state(failure=GIVEN_UP), previous=compute(make_observed_state(failure=RETRIED)))

    assert computed["attempts"] == 3
    assert "nextAttemptAt" not in computed


def test_success_clears_the_tries() -> None:
    computed = compute(HEALTHY, previous=compute(make_observed_state(failure=RETRIED)))

    assert computed["attempts"] == 0
    assert "nextAttemptAt" not in computed


def test_texts_of_any_length_fit_the_contract() -> None:
    failure = Failure(reason="ReconcileFailed", message="é" * 40_000)
    stuck = component(WAITING.__class__(ready=False, message="x" * 40_000, stuck=True))
    reading = LicenseStatus(state="Invalid", key_id="k" * 1000, ok=False, message="y" * 40_000)

    compute(make_observed_state(failure=failure, components=(stuck,), license=reading))
    compute(make_observed_state(components=(stuck,), license=reading))


@pytest.mark.parametrize(
    ("retry_at", "previous", "handled"),
    [
        (None, NEW, None),
        ("2026-11-21T12:00:59Z", NEW, "2026-11-21T12:00:59Z"),
        ("2026-11-21T13:00:59+01:00", NEW, "2026-11-21T12:00:59Z"),
        ("2026-11-21T12:01:01Z", NEW, None),
        ("2026-11-21T12:01:01Z", {"lastHandledRetryAt": "2026-11-20T00:00:00Z"}, "2026-11-20T00:00:00Z"),
        ("soon", NEW, None),
        (None, {"lastHandledRetryAt": "2026-11-20T00:00:00Z"}, "2026-11-20T00:00:00Z"),
    ],
)
def test_a_pass_answers_a_retry_annotation_whose_time_has_come(
    retry_at: str | None, previous: dict[str, Any], handled: str | None
) -> None:
    computed = compute(HEALTHY, previous=previous, instance=make_generation(retry_at=retry_at))

    assert computed.get("lastHandledRetryAt") == handled


def test_a_pass_that_failed_before_it_looked_keeps_what_was_last_seen_of_the_stack() -> None:
    ready = compute(make_observed_state())
    blind = make_observed_state(
        applied_count=0, desired_count=0, components=(), urls={}, failure=Failure(reason="LicenseInvalid", message="no")
    )

    failed = compute(blind, previous=ready)

    assert failed["phase"] == "Failed"
    assert (failed["stages"], failed["urls"]) == (ready["stages"], ready["urls"])
    assert {item["type"]: item["status"] for item in failed["conditions"]}["PostgresReady"] == "True"
    assert compute(blind, previous=failed) == failed


def test_a_paused_instance_says_so_whatever_its_phase() -> None:
    for observed in (
        make_observed_state(paused=True),
        make_observed_state(paused=True, desired_count=0, applied_count=0, namespace_ready=False, components=()),
    ):
        assert compute(observed)["message"].startswith("spec.paused is set")


def test_an_instance_that_was_paused_before_it_was_built_does_not_wait_for_its_turn() -> None:
    nothing = make_observed_state(paused=True, desired_count=0, applied_count=0, namespace_ready=False, components=())
    assert compute(nothing)["message"] == "spec.paused is set, nothing is built before it is cleared"


def test_an_address_that_was_refused_before_anything_was_built_is_not_shown() -> None:
    refused = make_observed_state(
        applied_count=0,
        desired_count=0,
        components=(),
        urls={"dashboard": "https://taken.example"},
        failure=Failure(reason="HostnameTaken", message="no"),
    )
    assert "urls" not in compute(refused)


def test_the_stage_in_which_a_first_pass_failed_has_failed_although_it_was_reported_before_as_begun() -> None:
    nothing = make_observed_state(applied_count=0, desired_count=0, namespace_ready=False, components=())
    begun = compute(nothing)
    refused = replace(nothing, failure=Failure(reason="InvalidSpec", message="no such Secret"))

    failed = compute(refused, previous=begun)

    assert begun["stages"][0]["state"] == "Active"
    assert failed["stages"][0]["state"] == "Failed"
    assert failed["stages"][0]["startedAt"] == begun["stages"][0]["startedAt"]
