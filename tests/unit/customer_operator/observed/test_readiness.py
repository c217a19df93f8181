"""How live objects read: ready, waiting, stuck, and why."""

from typing import Any

import pytest

from customer_operator.observed import readiness
from customer_operator.observed.readiness import READY, Readiness


def workload(kind: str, *, want: int | None, **status: Any) -> dict[str, Any]:
    spec = {} if want is None else {"replicas": want}
    return {"kind": kind, "metadata": {"generation": 3}, "spec": spec, "status": {"observedGeneration": 3, **status}}


def deployment(*, want: int | None = 2, **overrides: Any) -> dict[str, Any]:
    full = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    return workload("Deployment", want=want, **{**full, **overrides})


def stateful_set(*, want: int | None = 2, **overrides: Any) -> dict[str, Any]:
    full = {"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "currentRevision": "a", "updateRevision": "a"}
    return workload("StatefulSet", want=want, **{**full, **overrides})


def condition(kind: str, status: str) -> dict[str, str]:
    return {"type": kind, "status": status, "message": "why"}


def waiting(message: str, *, stuck: bool = False) -> Readiness:
    return Readiness(ready=False, message=message, stuck=stuck)


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (deployment(), READY),
        (deployment(observedGeneration=2), waiting("waiting for the deployment controller")),
        ({**deployment(), "status": {}}, waiting("waiting for the deployment controller")),
        ({**deployment(), "status": None}, waiting("waiting for the deployment controller")),
        (deployment(updatedReplicas=1), waiting("1 of 2 replicas are available")),
        (deployment(availableReplicas=0), waiting("0 of 2 replicas are available")),
        (deployment(replicas=3), waiting("replicas still stopping: 1")),
        (deployment(conditions=[condition("Progressing", "False")]), waiting("why", stuck=True)),
        (
            deployment(conditions=[{"type": "Progressing", "status": "False"}]),
            waiting("the rollout is stuck", stuck=True),
        ),
        (deployment(conditions=[condition("ReplicaFailure", "True")]), waiting("why")),
        (deployment(conditions=[condition("Progressing", "True"), condition("Available", "False")]), READY),
        (deployment(conditions=[condition("ReplicaFailure", "False"), condition("Progressing", "Unknown")]), READY),
        (deployment(want=0, replicas=0, updatedReplicas=0, availableReplicas=0), READY),
        (deployment(want=0), waiting("replicas still stopping: 2")),
        (deployment(want=None, replicas=1, updatedReplicas=1, availableReplicas=1), READY),
    ],
)
def test_a_deployment_is_ready_when_its_rollout_is_complete(live: dict[str, Any], expected: Readiness) -> None:
    assert readiness.of(live) == expected


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (stateful_set(), READY),
        (stateful_set(observedGeneration=2), waiting("waiting for the stateful set controller")),
        ({**stateful_set(), "status": {}}, waiting("waiting for the stateful set controller")),
        (stateful_set(readyReplicas=1), waiting("1 of 2 replicas are ready")),
        (stateful_set(updatedReplicas=0), waiting("0 of 2 replicas are ready")),
        (stateful_set(updateRevision="b"), waiting("2 of 2 replicas are ready")),
        (stateful_set(want=0, replicas=0, readyReplicas=0, updatedReplicas=0), READY),
        (stateful_set(want=0, replicas=0, updatedReplicas=0, updateRevision="b"), READY),
        (stateful_set(want=0, replicas=1), waiting("replicas still stopping: 1")),
        (stateful_set(want=None, replicas=1, readyReplicas=1, updatedReplicas=1), READY),
    ],
)
def test_a_stateful_set_is_ready_when_every_replica_is_of_the_newest_revision(
    live: dict[str, Any], expected: Readiness
) -> None:
    assert readiness.of(live) == expected


@pytest.mark.parametrize("kind", ["Secret", "Service", "Namespace", "ResourceQuota", "Ingress"])
def test_an_object_without_a_notion_of_readiness_is_ready_by_existing(kind: str) -> None:
    assert readiness.of({"kind": kind, "metadata": {}}) is READY


@pytest.mark.parametrize(
    ("live", "ports"),
    [
        (
            {"kind": "Service", "spec": {"ports": [{"name": "http", "nodePort": 30001}, {"nodePort": 30002}]}},
            (("http", 30001), ("", 30002)),
        ),
        ({"kind": "Service", "spec": {"ports": [{"name": "http", "port": 80}]}}, ()),
        ({"kind": "Service", "spec": {"ports": [{"name": "http", "nodePort": 0}]}}, ()),
        ({"kind": "Service", "spec": {"type": "ExternalName"}}, ()),
        ({"kind": "Deployment", "spec": {"ports": [{"name": "http", "nodePort": 30001}]}}, ()),
    ],
)
def test_node_ports_are_read_from_services_that_have_them(
    live: dict[str, Any], ports: tuple[tuple[str, int], ...]
) -> None:
    assert readiness.node_ports(live) == ports


@pytest.mark.parametrize(
    ("status", "enforced"),
    [
        ({"hard": {"pods": "10", "requests.cpu": "2"}}, True),
        ({"hard": {"pods": "10", "requests.cpu": "2", "services": "5"}}, True),
        ({"hard": {"pods": "10"}}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_quota_is_in_force_once_its_status_knows_every_limit(status: Any, *, enforced: bool) -> None:
    live = {"spec": {"hard": {"pods": "10", "requests.cpu": "2"}}, "status": status}

    assert readiness.quota_enforced(live) is enforced


def namespace(*, deleted: bool = True, **status: Any) -> dict[str, Any]:
    return {"metadata": {"deletionTimestamp": "2026-11-21T12:00:00Z"} if deleted else {}, "status": status}


@pytest.mark.parametrize(
    ("live", "reason"),
    [
        (namespace(deleted=False, phase="Active"), None),
        (namespace(), "its content is being deleted"),
        (namespace(conditions=[condition("NamespaceFinalizersRemaining", "False")]), "its content is being deleted"),
        (namespace(conditions=[condition("NamespaceFinalizersRemaining", "True")]), "why"),
        (
            namespace(
                conditions=[
                    condition("NamespaceContentRemaining", "True"),
                    condition("SomethingElse", "True"),
                    {"type": "NamespaceDeletionContentFailure", "status": "True"},
                ]
            ),
            "why NamespaceDeletionContentFailure",
        ),
    ],
)
def test_a_namespace_that_goes_says_what_holds_it(live: dict[str, Any], reason: str | None) -> None:
    assert readiness.terminating(live) == reason
