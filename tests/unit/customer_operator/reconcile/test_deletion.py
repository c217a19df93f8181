"""Deletion, pass by pass: workloads stop, the namespace goes or stays, the finalizer is removed last."""

from typing import Any

import pytest

from customer_operator import naming
from customer_operator.errors import ClusterError, ClusterUnreachable, PermissionMissing
from customer_operator.naming import Manifest
from tests.support.fake_kube import Call
from tests.support.reconciling import World, with_metadata

NAMESPACE = "customer-acme"
RELEASE = Call("apply", naming.KIND, "acme")


def stages(world: World) -> str:
    return " ".join(f"{item['name']}={item['state']}" for item in world.status()["stages"])


def stop_pods(world: World) -> None:
    """Let the pods of all workloads be gone, as far as they were scaled down."""
    for kind in ("Deployment", "StatefulSet"):
        for live in world.kube.all(kind):
            world.kube.put({**live, "status": {"replicas": live["spec"]["replicas"]}})
    world.watch()


def respec(world: World, spec: Any) -> None:
    """Have the spec be something else, whatever the contract says."""
    world.kube.put({**world.instance(), "spec": spec})
    world.watch()


def gone(world: World) -> bool:
    return world.kube.find(naming.KIND, "acme") is None


def order_of(calls: list[Call]) -> list[tuple[str, str]]:
    return [(call.verb, call.kind) for call in calls]


async def test_a_deletion_stops_the_workloads_removes_the_namespace_and_lets_the_resource_go_last(
    steady: World,
) -> None:
    steady.ask_for_deletion()
    outcome = await steady.reconcile()
    assert {call.verb for call in steady.writes()} == {"merge"}
    assert {call.kind for call in steady.writes()} == {"Deployment", "StatefulSet"}
    assert all(live["spec"]["replicas"] == 0 for live in steady.kube.all("Deployment"))
    assert (outcome.result, outcome.requeue_after) == ("waiting", 120.0)
    assert (steady.status()["phase"], stages(steady)) == (
        "Deleting",
        "workloads=Active namespace=Pending release=Pending",
    )
    assert steady.status()["message"].startswith("namespace customer-acme: stopping ")

    await steady.reconcile()
    assert steady.writes() == [], "they are stopping"
    stop_pods(steady)
    await steady.reconcile()
    assert steady.writes() == [Call("delete", "Namespace", NAMESPACE)]
    assert stages(steady) == "workloads=Done namespace=Active release=Pending"

    await steady.reconcile()
    assert steady.writes() == [], "its content is being deleted"
    assert not gone(steady)
    steady.kube.remove("Namespace", NAMESPACE)
    steady.watch()
    assert (await steady.reconcile()).result == "deleted"
    assert steady.writes() == [RELEASE]
    assert gone(steady)
    assert (await steady.reconcile()).result == "gone"


async def test_pods_that_do_not_stop_hold_the_namespace_for_a_while_only(steady: World) -> None:
    steady.ask_for_deletion()
    await steady.reconcile()
    steady.later(seconds=100)
    assert (await steady.reconcile()).requeue_after == 20.0
    assert steady.writes() == []

    steady.later(seconds=20)
    await steady.reconcile()
    assert steady.writes() == [Call("delete", "Namespace", NAMESPACE)]


async def test_what_holds_the_namespace_is_named(steady: World) -> None:
    steady.ask_for_deletion()
    await steady.reconcile()
    stop_pods(steady)
    await steady.reconcile()
    held = {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "Some content has finalizer x/y."}
    live = steady.namespace()
    assert live is not None
    steady.kube.put({**live, "status": {"phase": "Terminating", "conditions": [held]}})
    steady.watch()

    await steady.reconcile()
    assert steady.status()["message"] == "namespace customer-acme: Some content has finalizer x/y."


async def test_an_instance_that_was_never_built_goes_at_once(world: World) -> None:
    world.order()
    world.kube.fail("apply", ClusterUnreachable("away"), kind="Namespace")
    with pytest.raises(ClusterUnreachable):
        await world.reconcile()
    world.ask_for_deletion()

    assert (await world.reconcile()).result == "deleted"
    assert world.writes() == [RELEASE]
    assert gone(world)


@pytest.mark.parametrize("others", [[], ["theirs"]])
async def test_a_finalizer_that_somebody_else_has_written_as_well_is_removed_all_the_same(
    world: World, others: list[str]
) -> None:
    """An apply takes off only what nobody else has applied; a restored backup comes with the finalizer in it."""
    world.order()
    world.kube.put(with_metadata(world.instance(), finalizers=[*others, naming.FINALIZER]))
    world.ask_for_deletion()

    assert (await world.reconcile()).result == "deleted"
    if others:
        assert world.instance()["metadata"]["finalizers"] == others
    else:
        assert gone(world)


async def test_a_resource_without_our_finalizer_is_none_of_our_business(steady: World) -> None:
    steady.kube.put(with_metadata(steady.instance(), finalizers=["theirs"]))
    steady.ask_for_deletion()

    assert (await steady.reconcile()).result == "released"
    assert steady.kube.writes == []


# -- data that stays -------------------------------------------------------------------------------------------------


async def retained(world: World) -> None:
    """Assert that the deletion ends with the namespace and its data in place, and without an owner."""
    await world.reconcile()
    assert not gone(world)
    live = world.namespace()
    assert live is not None
    assert "ownerReferences" not in live["metadata"]
    stop_pods(world)
    assert (await world.reconcile()).result == "deleted"
    assert gone(world)
    live = world.namespace()
    assert live is not None
    assert not live["metadata"].get("deletionTimestamp")
    assert world.find("Secret", naming.CREDENTIALS_SECRET) is not None


async def test_data_that_is_to_stay_stays_and_the_workloads_stop(world: World) -> None:
    await world.bring_up(deletionPolicy="Retain")
    world.ask_for_deletion()
    await retained(world)


async def test_before_anything_else_data_that_is_to_stay_loses_its_owner(steady: World) -> None:
    """The policy was changed by the last edit before the deletion; garbage collection is faster than any wait."""
    respec(steady, {**steady.instance()["spec"], "deletionPolicy": "Retain"})
    steady.ask_for_deletion()
    await steady.reconcile()

    assert order_of(steady.writes())[0] == ("merge", "Namespace")
    await retained(steady)


@pytest.mark.parametrize("policy", ["Archive", None, ["Delete"]])
async def test_a_policy_that_nobody_understands_keeps_the_data(steady: World, policy: Any) -> None:
    respec(steady, {**steady.instance()["spec"], "deletionPolicy": policy})
    steady.ask_for_deletion()
    await retained(steady)


@pytest.mark.parametrize("spec", [{}, None, {"plan": "gold"}, {"customer": "text", "mqtt": 7}])
async def test_an_instance_whose_spec_cannot_be_read_can_be_deleted_by_what_it_owns(steady: World, spec: Any) -> None:
    respec(steady, spec)
    steady.ask_for_deletion()
    await steady.reconcile()
    stop_pods(steady)
    await steady.reconcile()

    assert steady.writes() == [Call("delete", "Namespace", NAMESPACE)]
    steady.kube.remove("Namespace", NAMESPACE)
    await steady.reconcile()
    assert gone(steady)


@pytest.mark.parametrize("labels", [{}, {naming.CUSTOMER_LABEL: "bob"}])
async def test_a_namespace_of_others_outlives_the_instance(world: World, labels: dict[str, str]) -> None:
    taken: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    before = world.kube.put(taken)
    world.order()
    await world.reconcile()
    world.ask_for_deletion()

    assert (await world.reconcile()).result == "deleted"
    assert world.namespace() == before


# -- trouble ---------------------------------------------------------------------------------------------------------


async def test_a_missing_binding_is_put_back_to_stop_the_workloads(steady: World) -> None:
    steady.kube.remove("RoleBinding", naming.TENANT_ROLE, namespace=NAMESPACE)
    steady.kube.fail("merge", PermissionMissing("403", status=403), kind="Deployment", name="api")
    steady.ask_for_deletion()
    await steady.reconcile()

    assert ("apply", "RoleBinding") in order_of(steady.writes())
    assert steady.find("RoleBinding", naming.TENANT_ROLE) is not None
    assert all(live["spec"]["replicas"] == 0 for live in steady.kube.all("Deployment"))


async def test_a_refusal_is_what_the_deletion_waits_for(steady: World) -> None:
    steady.ask_for_deletion()
    await steady.reconcile()
    stop_pods(steady)
    steady.kube.fail("delete", ClusterError("DELETE: 403 deletion is protected", status=403), kind="Namespace")

    outcome = await steady.reconcile()
    assert (outcome.result, outcome.requeue_after) == ("waiting", 10.0)
    assert "deletion is protected" in steady.status()["message"]
    await steady.reconcile()
    assert Call("delete", "Namespace", NAMESPACE) in steady.writes()


async def test_an_outage_is_no_refusal(steady: World) -> None:
    steady.ask_for_deletion()
    steady.kube.fail("get", ClusterUnreachable("away"), kind="Namespace")

    with pytest.raises(ClusterUnreachable):
        await steady.reconcile()
    assert "away" not in str(steady.status())


async def test_a_deletion_goes_on_after_a_restart_where_it_was(steady: World) -> None:
    steady.ask_for_deletion()
    await steady.reconcile()
    began = steady.status()["stages"][0]["startedAt"]
    steady.later(seconds=30)
    steady.start_operator()

    await steady.reconcile(resync=True)
    assert steady.writes(status=True) == []
    assert steady.status()["stages"][0]["startedAt"] == began
