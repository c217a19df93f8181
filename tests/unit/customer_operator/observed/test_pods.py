"""Why a pod does not become ready, in a sentence that names pod, container and cause."""

import pytest

from customer_operator.naming import Manifest
from customer_operator.observed.pods import problem_of
from tests.support.pod_statuses import (
    CPU,
    CRASHING,
    NO_IMAGE,
    OUT_OF_MEMORY,
    STARTING,
    UNSCHEDULABLE,
    container,
    pod,
    scheduled,
)


@pytest.mark.parametrize(
    "live",
    [
        STARTING,
        pod(),
        {"metadata": {"name": "new"}},
        pod(phase="Running", conditions=scheduled(), containerStatuses=[container(running={"startedAt": "x"})]),
        pod(containerStatuses=[container(running={}, last={"exitCode": 1, "reason": "Error"})]),
        pod(phase="Succeeded", containerStatuses=[container(terminated={"exitCode": 0, "reason": "Completed"})]),
        pod(containerStatuses=[container(waiting={})]),
        pod(containerStatuses=[{"name": "api"}]),
    ],
    ids=["creating", "no status", "no status at all", "running", "running again", "completed", "no reason", "no state"],
)
def test_an_ordinary_start_is_no_problem(live: Manifest) -> None:
    assert problem_of([live]) is None


@pytest.mark.parametrize(
    ("live", "problem"),
    [
        (UNSCHEDULABLE, f"Unschedulable: {CPU}"),
        (NO_IMAGE, 'container api: ImagePullBackOff: Back-off pulling image "iotistic/api:typo"'),
        (
            CRASHING,
            "container api: CrashLoopBackOff: back-off 5m0s restarting failed container; "
            "last exit: code 1 (Error): no such table: users",
        ),
        (OUT_OF_MEMORY, "container api: CrashLoopBackOff; last exit: code 137 (OOMKilled)"),
        (
            pod(containerStatuses=[container(terminated={"exitCode": 137, "reason": "OOMKilled"})]),
            "container api ended: code 137 (OOMKilled)",
        ),
        (
            pod(
                initContainerStatuses=[
                    container(
                        "wait",
                        waiting={"reason": "CrashLoopBackOff"},
                        last={"exitCode": 2, "reason": "Error", "message": "could not reach postgres"},
                    )
                ],
                containerStatuses=[container(waiting={"reason": "PodInitializing"})],
            ),
            "container wait: CrashLoopBackOff; last exit: code 2 (Error): could not reach postgres",
        ),
        (
            pod(
                containerStatuses=[
                    container("sidecar", running={}),
                    container(waiting={"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}),
                ]
            ),
            'container api: CreateContainerConfigError: secret "x" not found',
        ),
        (
            pod(phase="Failed", reason="Evicted", message="The node was low on memory."),
            "Evicted: The node was low on memory.",
        ),
        (pod(phase="Failed"), "Failed"),
        (pod(conditions=[{"type": "PodScheduled", "status": "False"}]), "Unschedulable"),
    ],
)
def test_a_problem_names_pod_container_and_cause(live: Manifest, problem: str) -> None:
    assert problem_of([live]) == f"pod api-0: {problem}"


def test_of_several_pods_the_first_by_name_that_has_a_problem_is_named() -> None:
    pods = [pod("c", phase="Failed"), pod("b", phase="Failed"), pod("a")]

    assert problem_of(pods) == "pod b: Failed"
    assert problem_of([]) is None
