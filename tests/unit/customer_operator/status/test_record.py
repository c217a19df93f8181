"""The status of the pass before, read from the resource."""

from datetime import UTC, datetime

import pytest

from customer_operator.status.record import Phase, RecordedCondition, RecordedStage, StatusRecord, read_status
from tests.support.generate import make_resource
from tests.support.statuses import NOW, WAITING, component, compute, make_observed_state, record

READY = {"type": "Ready", "status": "True", "reason": "Ready", "lastTransitionTime": "2026-11-21T12:01:00Z"}


@pytest.mark.parametrize(
    "body", [make_resource(), {**make_resource(), "status": None}, {**make_resource(), "status": {}}]
)
def test_a_resource_without_a_status_reads_as_an_empty_record(body: dict[str, object]) -> None:
    assert read_status(body) == StatusRecord()


def test_everything_that_a_later_pass_needs_is_read() -> None:
    status = {
        "phase": "Updating",
        "progress": 42,
        "observedGeneration": 7,
        "plan": "trial",
        "attempts": 2,
        "nextAttemptAt": "2026-11-21T12:02:00Z",
        "lastHandledRetryAt": "2026-11-21T12:03:00Z",
        "estimatedReadyAt": "2026-11-21T12:04:00Z",
        "timeToReadySeconds": 41.3,
        "conditions": [READY],
        "stages": [
            {"name": "accept", "state": "Done", "startedAt": "s", "finishedAt": "f"},
            {"name": "apply", "state": "Pending"},
        ],
    }

    assert read_status({"status": status}) == StatusRecord(
        written=status,
        phase=Phase.UPDATING,
        progress=42,
        observed_generation=7,
        plan="trial",
        attempts=2,
        next_attempt_at=datetime(2026, 11, 21, 12, 2, tzinfo=UTC),
        last_handled_retry_at=datetime(2026, 11, 21, 12, 3, tzinfo=UTC),
        estimated_ready_at=datetime(2026, 11, 21, 12, 4, tzinfo=UTC),
        time_to_ready_seconds=41.3,
        conditions={"Ready": RecordedCondition("True", "Ready", "2026-11-21T12:01:00Z")},
        stages={"accept": RecordedStage("Done", "s", "f"), "apply": RecordedStage("Pending")},
    )


def test_a_phase_of_a_later_version_reads_as_none() -> None:
    assert read_status({"status": {"phase": "Hibernating"}}).phase is None


def test_what_is_computed_is_read_back() -> None:
    computed = compute(make_observed_state(components=(component(WAITING),)), now=NOW)

    known = record(computed)

    assert (known.phase, known.progress, known.plan) == (Phase.PROVISIONING, computed["progress"], "starter")
    assert known.estimated_ready_at is not None
    assert set(known.conditions) == {"Ready", "Reconciling", "Stalled", "LicenseValid", "PostgresReady"}
    assert known.stages["postgres"].state == "Active"
    assert known.reason_of("Reconciling") == "Provisioning"
    assert known.reason_of("Unheard") is None


@pytest.mark.parametrize(
    ("known", "reached"),
    [
        (StatusRecord(), False),
        (StatusRecord(phase=Phase.PENDING), False),
        (StatusRecord(phase=Phase.PROVISIONING), False),
        (StatusRecord(phase=Phase.FAILED), False),
        (StatusRecord(phase=Phase.FAILED, time_to_ready_seconds=0.0), True),
        (StatusRecord(phase=Phase.READY), True),
        (StatusRecord(phase=Phase.UPDATING), True),
        (StatusRecord(phase=Phase.DEGRADED), True),
        (StatusRecord(phase=Phase.SUSPENDED), True),
    ],
)
def test_a_first_suspension_counts_like_a_first_ready(known: StatusRecord, *, reached: bool) -> None:
    assert known.reached_first is reached
