"""The structural check itself must find what the API server would."""

from typing import Any

import pytest

from tests.support.schema import status_schema, violations

CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Ready",
    "message": "",
    "lastTransitionTime": "2026-11-21T12:00:00Z",
}


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"phase": "Ready", "progress": 100, "timeToReadySeconds": 12.5},
        {"conditions": [CONDITION, {**CONDITION, "type": "Stalled"}]},
        {"ports": {"api": 30000}, "nextAttemptAt": "2026-11-21T12:00:00.5+01:00"},
    ],
)
def test_a_status_as_the_contract_has_it_passes(status: dict[str, Any]) -> None:
    assert list(violations(status, status_schema())) == []


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        ({"phase": "Happy"}, "status.phase: 'Happy' is not one of"),
        ({"phase": 1}, "status.phase: 1 is no string"),
        ({"progress": 100.5}, "status.progress: 100.5 is no integer"),
        ({"progress": True}, "status.progress: True is no integer"),
        ({"progress": 101}, "status.progress: 101 is over maximum 100"),
        ({"attempts": -1}, "status.attempts: -1 is under minimum 0"),
        ({"message": "x" * 1025}, "status.message: 1025 is over maxLength 1024"),
        ({"nextAttempt": "soon"}, "status.nextAttempt: unknown field"),
        ({"nextAttemptAt": "2026-11-21"}, "status.nextAttemptAt: '2026-11-21' is no RFC 3339 time"),
        ({"nextAttemptAt": "2026-13-21T00:00:00Z"}, "is no RFC 3339 time"),
        ({"ports": {"api": 0}}, "status.ports.api: 0 is under minimum 1"),
        ({"conditions": {}}, "status.conditions: {} is no array"),
        ({"conditions": [CONDITION, CONDITION]}, "status.conditions: ('Ready',) stands twice"),
        ({"conditions": [{**CONDITION, "status": "yes"}]}, "status.conditions[0].status"),
        ({"stages": [{"name": "apply"}]}, "status.stages[0].state: missing"),
        ({"stages": [{"name": str(number), "state": "Done"} for number in range(33)]}, "33 is over maxItems 32"),
    ],
)
def test_a_status_that_the_server_would_refuse_or_prune_is_found(status: dict[str, Any], complaint: str) -> None:
    assert any(complaint in found for found in violations(status, status_schema()))
