"""A status over time: progress, stages, estimates, idempotence; deletion and specs that cannot be read."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import product
from random import Random
from typing import Any

import pytest

from customer_operator.errors import InstanceInvalid
from customer_operator.licensing.entitlement import LicenseStatus
from customer_operator.observed.readiness import READY, Readiness
from customer_operator.observed.state import Failure, ObservedState
from customer_operator.status import compute as status
from customer_operator.status.conditions import Stage
from tests.support.generate import make_resource
from tests.support.statuses import (
    CREATED,
    NOW,
    STUCK,
    WAITING,
    check,
    component,
    compute,
    holds,
    make_generation,
    make_observed_state,
    record,
)

TICK = timedelta(seconds=1)


def provisioning() -> Iterator[ObservedState]:
    """Yield what a first reconcile sees, step by step."""
    empty = make_observed_state(
        namespace_ready=False, quota_enforced=False, applied_count=0, desired_count=0, components=()
    )
    names = ("postgres", "mosquitto", "api")
    yield empty
    yield replace(empty, desired_count=12, components=tuple(component(None, name=name) for name in names))
    missing = make_observed_state(
        quota_enforced=False,
        desired_count=12,
        applied_count=0,
        components=tuple(component(None, name=n) for n in names),
    )
    for applied in (0, 4, 8):
        yield replace(missing, applied_count=applied)
    yield replace(missing, applied_count=8, quota_enforced=True)
    readiness: dict[str, Readiness | None] = dict.fromkeys(names, WAITING)
    for ready in (None, *names):
        readiness |= {ready: READY} if ready else {}
        parts = tuple(component(readiness[name], name=name) for name in names)
        yield replace(missing, quota_enforced=True, applied_count=12, components=parts)


def test_progress_never_falls_during_provisioning_and_reaches_a_hundred_only_at_the_end() -> None:
    computed: dict[str, Any] = {}
    seen = []
    for step, observed in enumerate(provisioning()):
        computed = compute(observed, previous=computed, now=NOW + step * TICK)
        seen.append(computed["progress"])

    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 100)
    assert max(seen[:-1]) < 100
    assert computed["phase"] == "Ready"


def test_a_failed_try_is_not_done_although_everything_stands() -> None:
    assert compute(make_observed_state(failure=_FAILURES[1]), previous=compute(make_observed_state()))["progress"] == 99


def test_stages_are_done_one_after_the_other_and_keep_their_times() -> None:
    computed: dict[str, Any] = {}
    rows = []
    for step, observed in enumerate(provisioning()):
        computed = compute(observed, previous=computed, now=NOW + step * TICK)
        rows.append(" ".join(f"{stage['name']}={stage['state']}" for stage in computed["stages"]))

    # fmt: off
    assert rows == [
        "accept=Active namespace=Pending guardrails=Pending apply=Pending",
        "accept=Done namespace=Active guardrails=Pending apply=Pending postgres=Pending mosquitto=Pending api=Pending",
        "accept=Done namespace=Done guardrails=Active apply=Pending postgres=Pending mosquitto=Pending api=Pending",
        "accept=Done namespace=Done guardrails=Active apply=Pending postgres=Pending mosquitto=Pending api=Pending",
        "accept=Done namespace=Done guardrails=Active apply=Pending postgres=Pending mosquitto=Pending api=Pending",
        "accept=Done namespace=Done guardrails=Done apply=Active postgres=Pending mosquitto=Pending api=Pending",
        "accept=Done namespace=Done guardrails=Done apply=Done postgres=Active mosquitto=Active api=Active",
        "accept=Done namespace=Done guardrails=Done apply=Done postgres=Done mosquitto=Active api=Active",
        "accept=Done namespace=Done guardrails=Done apply=Done postgres=Done mosquitto=Done api=Active",
        "accept=Done namespace=Done guardrails=Done apply=Done postgres=Done mosquitto=Done api=Done",
    ]
    # fmt: on
    assert computed["stages"][0]["finishedAt"] == "2026-11-21T12:01:01Z"
    assert computed["stages"][-1] == {
        "name": "api",
        "state": "Done",
        "startedAt": "2026-11-21T12:01:06Z",
        "finishedAt": "2026-11-21T12:01:09Z",
    }


def test_the_stage_at_which_the_operator_gave_up_has_failed() -> None:
    failure = Failure(reason="ReconcileFailed", message="gave up", attempts=3)

    computed = compute(make_observed_state(applied_count=3, failure=failure))

    assert [(item["name"], item["state"]) for item in computed["stages"]][:4] == [
        ("accept", "Done"),
        ("namespace", "Done"),
        ("guardrails", "Done"),
        ("apply", "Failed"),
    ]


def test_the_time_to_ready_is_measured_once() -> None:
    first = compute(make_observed_state(), now=CREATED + timedelta(seconds=41.26))
    later = compute(make_observed_state(), previous=first, now=CREATED + timedelta(hours=1))
    degraded = compute(
        make_observed_state(components=(component(WAITING),)), previous=later, now=CREATED + timedelta(hours=2)
    )
    again = compute(make_observed_state(), previous=degraded, now=CREATED + timedelta(hours=3))

    assert [item["timeToReadySeconds"] for item in (first, later, degraded, again)] == [41.3] * 4


def test_the_estimate_is_fixed_while_it_lies_ahead_and_dropped_when_it_has_passed() -> None:
    coming = make_observed_state(components=(component(WAITING),))
    first = compute(coming, now=CREATED + 10 * TICK)
    faster = compute(replace(coming, typical_seconds=60.0), previous=first, now=CREATED + 20 * TICK)
    late = compute(coming, previous=faster, now=CREATED + timedelta(seconds=181))

    assert first["estimatedReadyAt"] == faster["estimatedReadyAt"] == "2026-11-21T12:03:00Z"
    assert "estimatedReadyAt" not in late
    assert "estimatedReadyAt" not in compute(make_observed_state(), previous=first)


# -- every small state -----------------------------------------------------------------------------------------------

_LICENSES = (LicenseStatus(), LicenseStatus(state="Expired", expires_at=NOW, key_id="k", ok=False, reason="Expired"))
_FAILURES = (
    None,
    Failure(reason="ReconcileFailed", message="try 1 of 3", attempts=1, next_attempt_at=NOW + timedelta(minutes=1)),
    Failure(reason="LicenseInvalid", message="spec.license: it is not a JWT"),
)


_READINGS = ((READY, READY), (READY, WAITING), (WAITING, None), (READY, STUCK), (None, None))
_APPLIED = ((False, 0, 0), (False, 0, 9), (True, 5, 9), (True, 9, 9))


def every_observed_state() -> list[ObservedState]:
    return [
        make_observed_state(
            namespace_ready=namespace_ready,
            quota_enforced=applied > 0,
            applied_count=applied,
            desired_count=wanted,
            components=(component(postgres), component(api, name="api")),
            suspended="suspended by spec.suspend" if suspended else None,
            license=_LICENSES[suspended],
            ports={"dashboard": 30001, "mqttTls": 30002} if suspended else {},
            failure=failure,
        )
        for (namespace_ready, applied, wanted), (postgres, api), suspended, failure in product(
            _APPLIED, _READINGS, (False, True), _FAILURES
        )
    ]


def every_past(states: list[ObservedState]) -> list[dict[str, Any]]:
    """Return no status at all, and one of each phase."""
    ready = compute(make_observed_state())
    waiting = make_observed_state(components=(component(WAITING),))
    pasts = [
        ready,
        compute(waiting, previous=ready),
        compute(waiting, previous=ready, instance=make_generation(generation=2)),
    ]
    return [{}, *{item["phase"]: item for item in (*pasts, *map(compute, states))}.values()]


def test_every_status_fits_the_contract_and_is_written_only_once() -> None:
    """From every kind of past, in every state: valid, readable by kstatus, and stable when nothing changes."""
    states = every_observed_state()
    phases = set()
    dice = Random(0)
    for observed, previous in product(states, every_past(states)):
        instance = make_generation(generation=dice.choice((1, 2)))

        computed = compute(observed, previous=previous, instance=instance)

        phases.add(computed["phase"])
        repeated = status.compute(instance=instance, observed=observed, previous=record(computed), now=NOW + TICK)
        assert repeated == computed
    assert phases == {"Pending", "Provisioning", "Ready", "Updating", "Degraded", "Suspended", "Failed"}


# -- deletion --------------------------------------------------------------------------------------------------------


def deleting(previous: status.Status, *steps: Stage, after: int = 0) -> dict[str, Any]:
    computed = status.deleting(generation=1, previous=record(previous), stages=steps, now=NOW + after * TICK)
    check(computed)
    return computed


def test_a_deletion_shows_its_steps_and_keeps_what_is_worth_keeping() -> None:
    ready = compute(make_observed_state())

    computed = deleting(
        ready, ("namespace", "Active", "namespace customer-acme: held by x"), ("release", "Pending", "")
    )

    assert (computed["phase"], computed["progress"]) == ("Deleting", 0)
    assert computed["message"] == "namespace customer-acme: held by x"
    assert computed["timeToReadySeconds"] == ready["timeToReadySeconds"]
    assert holds(computed, "Reconciling")
    assert "urls" not in computed


def test_the_stages_of_a_deletion_have_times_of_their_own() -> None:
    """Provisioning has a stage of the same name, which was done long ago."""
    ready = compute(make_observed_state())

    begun = deleting(ready, ("namespace", "Done", ""), ("release", "Active", ""), after=30)
    goes_on = deleting(begun, ("namespace", "Done", ""), ("release", "Active", ""), after=60)

    assert begun["stages"][0]["finishedAt"] == "2026-11-21T12:01:30Z"
    assert goes_on == begun
    assert begun["progress"] == 50


def test_a_deletion_without_steps_is_still_a_status() -> None:
    assert deleting({})["progress"] == 0


# -- specs that cannot be read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "previous",
    [
        {},
        compute(make_observed_state()),
        compute(make_observed_state(desired_count=0, failure=_FAILURES[1])),
        compute(make_observed_state(components=(component(WAITING),))),
    ],
)
def test_a_spec_that_cannot_be_read_has_failed_for_good(previous: dict[str, Any]) -> None:
    error = InstanceInvalid("spec.plan", "'gold' is unknown; use one of trial, starter" + "x" * 2000)

    computed = status.unreadable(make_resource(), error, previous=record(previous), now=NOW)

    check(computed)
    assert computed["phase"] == "Failed"
    assert computed["message"].startswith("spec.plan: 'gold' is unknown")
    assert holds(computed, "Stalled")
    assert not {"nextAttemptAt", "estimatedReadyAt"} & set(computed)
    assert status.unreadable(make_resource(), error, previous=record(computed), now=NOW + TICK) == computed
