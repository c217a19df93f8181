from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from billing_api.db.outbox import Progress
from billing_api.deployments.models import DeploymentAnswer
from billing_api.deployments.status import describe, instance_url, job_state
from billing_api.kube.instances import Sight, parse

NAME = "cb4c867f44a92"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CREATED = {
    "metadata": {"name": NAME, "uid": "u", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {},
}
PENDING = Progress(
    state="pending",
    attempts=0,
    next_attempt_at=NOW,
    last_error=None,
    created_at=NOW,
    applied_generation=None,
    applied_resource_version=None,
)


def _instance(**status: Any) -> dict[str, Any]:
    return {**CREATED, "status": {"observedGeneration": 1, **status}}


def _describe(item: dict[str, Any] | None, *, outbox: Progress | None = PENDING, **overrides: Any) -> DeploymentAnswer:
    seen = {"instance": None if item is None else parse(item), "current": True, "gone": False, **overrides}
    return describe(name=NAME, sight=Sight(**seen), outbox=outbox, base_domain="iotistic.cloud")


@pytest.mark.parametrize(
    ("status", "state", "deployment_status"),
    [
        (None, "waiting", "pending"),
        ({"phase": "Provisioning", "observedGeneration": 0}, "waiting", "pending"),
        ({"phase": "Ready", "observedGeneration": 0, "timeToReadySeconds": 9.5}, "waiting", "deployed"),
        ({"phase": "Pending"}, "active", "deploying"),
        ({"phase": "Provisioning"}, "active", "deploying"),
        ({"phase": "Provisioning", "nextAttemptAt": "2026-01-01T00:01:00Z"}, "delayed", "deploying"),
        ({"phase": "Ready", "timeToReadySeconds": 9.5}, "completed", "deployed"),
        ({"phase": "Suspended"}, "completed", "deployed"),
        ({"phase": "Updating", "timeToReadySeconds": 9.5}, "active", "deployed"),
        ({"phase": "Degraded", "timeToReadySeconds": 9.5}, "active", "deployed"),
        ({"phase": "Failed", "timeToReadySeconds": 9.5}, "failed", "failed"),
        ({"phase": "Failed"}, "failed", "failed"),
        ({"phase": "Deleting"}, "active", "deleted"),
    ],
)
def test_the_phase_decides_the_job_and_the_deployment_status(
    status: dict[str, Any] | None, state: str, deployment_status: str
) -> None:
    item = CREATED if status is None else _instance(**status)
    answer = _describe(item)
    assert (answer.job.state, answer.customer.deploymentStatus) == (state, deployment_status)


def test_an_instance_that_is_being_deleted_is_not_completed() -> None:
    instance = replace(parse(_instance(phase="Ready")), deleting=True)
    assert job_state(instance) == "active"


def test_everything_the_operator_reports_is_passed_on() -> None:
    item = _instance(
        phase="Provisioning",
        progress=65,
        message="Waiting for the database",
        attempts=2,
        estimatedReadyAt="2026-01-01T00:02:00Z",
        namespace="customer-x",
        urls={"dashboard": "http://localhost:30001", "mqtt": "mqtt://localhost:31883"},
        stages=[
            {"name": "Accepted", "state": "Done", "startedAt": "2026-01-01T00:00:00Z"},
            {"name": "Database", "state": "Active", "message": "0 of 1 pods"},
        ],
        conditions=[
            {"type": "Ready", "status": "False", "reason": "Provisioning", "message": "", "lastTransitionTime": ""},
            {"type": "DatabaseReady", "status": "True", "reason": "Up", "message": "1 of 1", "lastTransitionTime": ""},
        ],
    )
    answer = _describe(item)
    assert (answer.job.id, answer.job.progress, answer.job.attempts) == (f"{NAME}-g1", 65, 2)
    assert answer.job.estimatedReadyAt == datetime(2026, 1, 1, 0, 2, tzinfo=UTC)
    assert (answer.phase, answer.message, answer.namespace) == (
        "Provisioning",
        "Waiting for the database",
        "customer-x",
    )
    assert answer.customer.instanceUrl == "http://localhost:30001"
    assert [(stage.name, stage.state, stage.message) for stage in answer.stages] == [
        ("Accepted", "Done", None),
        ("Database", "Active", "0 of 1 pods"),
    ]
    [component] = answer.components
    assert (component.name, component.ready, component.status, component.message) == ("Database", True, "Up", "1 of 1")


def test_deployed_at_is_when_the_instance_was_first_ready() -> None:
    answer = _describe(_instance(phase="Updating", timeToReadySeconds=42))
    assert answer.customer.deployedAt == datetime(2026, 1, 1, 0, 0, 42, tzinfo=UTC)


def test_a_failed_deployment_tells_why() -> None:
    answer = _describe(_instance(phase="Failed", message="no space left"))
    assert answer.customer.deploymentError == "no space left"


def test_a_stale_picture_says_so() -> None:
    answer = _describe(_instance(phase="Ready", message="All is well"), current=False)
    assert answer.message == "The state of the instance cannot be seen at the moment. Last known: All is well"
    assert answer.job.state == "completed"


@pytest.mark.parametrize(
    ("outbox", "options", "state", "status", "message"),
    [
        (PENDING, {}, "waiting", "pending", "queued"),
        (PENDING, {"current": False}, "waiting", "pending", "Nothing is lost"),
        (None, {}, "waiting", "pending", "queued"),
        (replace(PENDING, state="refused", last_error="spec.x is wrong"), {}, "failed", "failed", "spec.x is wrong"),
        (replace(PENDING, state="done"), {"gone": True}, "completed", "deleted", "deleted"),
    ],
)
def test_an_instance_that_is_not_there_is_explained_by_the_outbox(
    outbox: Progress | None, options: dict[str, Any], state: str, status: str, message: str
) -> None:
    answer = _describe(None, outbox=outbox, **options)
    assert (answer.job.state, answer.customer.deploymentStatus, answer.phase) == (state, status, None)
    assert message in answer.message


def test_a_postponed_apply_shows_when_it_is_tried_again() -> None:
    answer = _describe(None, outbox=replace(PENDING, attempts=3))
    assert (answer.job.attempts, answer.job.nextAttemptAt) == (3, NOW)


def test_the_url_is_unknown_on_localhost_until_a_port_is_allocated() -> None:
    assert instance_url(NAME, base_domain="localhost") is None
    assert instance_url(NAME, base_domain="iotistic.cloud") == f"https://{NAME}.iotistic.cloud"
