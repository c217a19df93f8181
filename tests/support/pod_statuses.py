"""Pods as the kubelet and the scheduler report them, one per thing that goes wrong."""

from typing import Any

from customer_operator import naming
from customer_operator.naming import Manifest


def pod(name: str = "api-0", *, component: str = "api", **status: Any) -> Manifest:
    """Return a pod of the instance acme with this status."""
    metadata = {"name": name, "namespace": "customer-acme", "labels": naming.labels("acme", component)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


def container(name: str = "api", *, last: dict[str, Any] | None = None, **state: Any) -> Manifest:
    """Return a container's status; the keyword arguments are its state, `last` the end of its former run."""
    return {"name": name, "state": state, "lastState": {"terminated": last} if last else {}}


def scheduled(*, message: str | None = None) -> list[Manifest]:
    """Return the conditions of a pod that has a node; with a message, of one that found none."""
    if message is None:
        return [{"type": "PodScheduled", "status": "True"}]
    return [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]


CPU = "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available"
UNSCHEDULABLE = pod(phase="Pending", conditions=scheduled(message=CPU))
STARTING = pod(
    phase="Pending",
    conditions=scheduled(),
    initContainerStatuses=[container("wait", waiting={"reason": "PodInitializing"})],
    containerStatuses=[container(waiting={"reason": "ContainerCreating"})],
)
NO_IMAGE = pod(
    containerStatuses=[
        container(waiting={"reason": "ImagePullBackOff", "message": 'Back-off pulling image "iotistic/api:typo"'})
    ]
)
CRASHING = pod(
    containerStatuses=[
        container(
            waiting={"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"},
            last={"exitCode": 1, "reason": "Error", "message": "no such table: users\n"},
        )
    ]
)
OUT_OF_MEMORY = pod(
    containerStatuses=[container(waiting={"reason": "CrashLoopBackOff"}, last={"exitCode": 137, "reason": "OOMKilled"})]
)
