"""Components that do not become ready: when their pods are looked at, and when they count as stuck."""

from dataclasses import replace
from datetime import timedelta

import pytest

from customer_operator.errors import ClusterError, ClusterUnreachable, PermissionMissing
from customer_operator.kube.client import KubeClient
from customer_operator.model.timestamps import format_time
from customer_operator.naming import Manifest
from customer_operator.observed.readiness import Readiness
from customer_operator.observed.state import ComponentState
from customer_operator.reconcile.diagnosis import DEADLINE, FIRST_LOOK, Diagnosis, diagnose
from customer_operator.status.record import RecordedStage, StatusRecord
from tests.support.fake_kube import Call, FakeKube
from tests.support.pod_statuses import CPU, CRASHING, STARTING, UNSCHEDULABLE, pod
from tests.support.statuses import NOW, STUCK, WAITING, component

LOOK = Call("list", "Pod", "", "customer-acme")
API = component(WAITING, name="api")


def since(seconds: float, *names: str, state: str = "Active") -> StatusRecord:
    """Return a status that shows for how long components have not been ready."""
    began = format_time(NOW - timedelta(seconds=seconds))
    return StatusRecord(stages={name: RecordedStage(state, began) for name in names or ("api",)})


async def look(client: KubeClient, *components: ComponentState, previous: StatusRecord) -> Diagnosis:
    return await diagnose(client, "acme", components, previous=previous, now=NOW)


def message(diagnosis: Diagnosis, number: int = 0) -> str:
    readiness = diagnosis.components[number].readiness
    assert readiness is not None
    return readiness.message


@pytest.mark.parametrize(
    "item",
    [
        component(),
        component(None),
        ComponentState(name="route", condition="RouteReady", readiness=STUCK, has_pods=False),
    ],
    ids=["ready", "not there yet", "without pods"],
)
async def test_what_is_not_waiting_for_pods_is_left_alone(
    client: KubeClient, kube: FakeKube, item: ComponentState
) -> None:
    assert await look(client, item, previous=since(3600, item.name)) == Diagnosis((item,))
    assert kube.calls == []


@pytest.mark.parametrize(
    "previous", [StatusRecord(), since(3), since(3600, state="Done"), since(3600, state="Pending")]
)
async def test_what_has_only_begun_to_wait_is_looked_at_later(
    client: KubeClient, kube: FakeKube, previous: StatusRecord
) -> None:
    assert await look(client, API, previous=previous) == Diagnosis((API,), requeue_after=10.0)
    assert kube.calls == []


async def test_after_a_while_the_pods_say_why(client: KubeClient, kube: FakeKube) -> None:
    kube.put(UNSCHEDULABLE)

    diagnosis = await look(client, component(), API, previous=since(10))

    assert diagnosis.components[0] == component()
    assert diagnosis.components[1].readiness == Readiness(ready=False, message=f"pod api-0: Unschedulable: {CPU}")
    assert kube.calls == [LOOK]


async def test_each_component_is_told_of_its_own_pods_by_one_request(client: KubeClient, kube: FakeKube) -> None:
    kube.put(CRASHING)
    kube.put(pod("mosquitto-0", component="mosquitto", phase="Failed"))
    kube.put({**pod("foreign", phase="Failed"), "metadata": {"name": "foreign", "namespace": "customer-acme"}})
    mosquitto = component(WAITING, name="mosquitto")

    diagnosis = await look(client, API, mosquitto, previous=since(60, "api", "mosquitto"))

    assert "no such table" in message(diagnosis, 0)
    assert message(diagnosis, 1) == "pod mosquitto-0: Failed"
    assert kube.calls == [LOOK]


@pytest.mark.parametrize("pods", [[], [STARTING]])
async def test_where_pods_show_nothing_the_workloads_words_stand(
    client: KubeClient, kube: FakeKube, pods: list[Manifest]
) -> None:
    for item in pods:
        kube.put(item)

    assert (await look(client, API, previous=since(60))).components == (API,)


async def test_the_looks_come_at_intervals_that_grow_with_the_wait(client: KubeClient, kube: FakeKube) -> None:
    moments, waited = [], 0.0
    while waited < 4000:
        moments.append(waited)
        diagnosis = await look(client, API, previous=since(waited))
        assert diagnosis.requeue_after is not None
        waited += diagnosis.requeue_after

    assert moments == [0, 10, 20, 40, 80, 160, 320, 600, 1200, 2400]  # 600 is the deadline
    assert len(kube.calls) == len(moments) - 1


async def test_the_next_look_is_the_one_of_the_component_that_waits_least(client: KubeClient) -> None:
    previous = StatusRecord(stages={**since(640).stages, **since(25, "postgres").stages})

    diagnosis = await look(client, API, component(WAITING), previous=previous)

    assert diagnosis.requeue_after == 25


async def test_past_its_deadline_a_component_is_stuck_and_says_for_how_long(client: KubeClient, kube: FakeKube) -> None:
    """A StatefulSet never says so by itself."""
    kube.put(CRASHING)
    almost = await look(client, API, previous=since(DEADLINE.total_seconds() - 1))
    stuck = await look(client, API, previous=since(DEADLINE.total_seconds()))

    assert almost.components[0].readiness is not None
    assert not almost.components[0].readiness.stuck
    assert stuck.components[0].readiness is not None
    assert stuck.components[0].readiness.stuck
    assert message(stuck).startswith("not ready for 10 minutes; pod api-0: container api: CrashLoopBackOff")
    assert stuck.requeue_after == DEADLINE.total_seconds(), "a crash that ends is noticed by the watch anyway"


async def test_a_stage_that_has_failed_goes_on_counting(client: KubeClient) -> None:
    failed = await look(client, API, previous=since(700, state="Failed"))

    assert failed.components[0].readiness is not None
    assert failed.components[0].readiness.stuck


async def test_a_rollout_that_says_itself_that_it_is_stuck_is_explained_at_once_by_its_pods(
    client: KubeClient, kube: FakeKube
) -> None:
    kube.put(CRASHING)
    diagnosis = await look(client, replace(API, readiness=STUCK), previous=since(11))

    assert diagnosis.components[0].readiness is not None
    assert diagnosis.components[0].readiness.stuck
    assert message(diagnosis).startswith("pod api-0: container api")


@pytest.mark.parametrize("error", [PermissionMissing("403", status=403), ClusterError("500", status=500)])
async def test_pods_that_may_not_be_read_fail_no_pass(client: KubeClient, kube: FakeKube, error: ClusterError) -> None:
    kube.put(CRASHING)
    kube.fail("list", error, kind="Pod")

    assert (await look(client, API, previous=since(60))).components == (API,)


async def test_an_api_server_that_is_away_is_no_diagnosis(client: KubeClient, kube: FakeKube) -> None:
    kube.fail("list", ClusterUnreachable("away"))

    with pytest.raises(ClusterUnreachable):
        await look(client, API, previous=since(60))


def test_an_ordinary_start_is_never_looked_at() -> None:
    assert timedelta(seconds=5) < FIRST_LOOK < DEADLINE
