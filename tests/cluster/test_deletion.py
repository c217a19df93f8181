"""Deleting an instance: everything goes, or the data stays behind, and what is going on can be seen meanwhile."""

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from tests.support.kubernetes import (
    Kubernetes,
    condition_of,
    in_phase,
    is_gone,
    is_ready,
    is_there,
    order,
)
from tests.support.operators import Operators
from tests.support.tenants import Tenants

KEPT = ("PersistentVolumeClaim", "Secret", "StatefulSet", "Deployment", "Service")


@pytest.fixture(scope="module", autouse=True)
def orders(operators: Operators, tenants: Tenants) -> dict[str, str]:
    """One instance for each way of going, provisioned side by side."""
    operators.usual()
    titles = ("deleted", "held", "orphaned")
    names = {title: tenants.order() for title in titles}
    names["retained"] = tenants.order(deletionPolicy="Retain")
    return names


def uids(api: Kubernetes, namespace: str, *kinds: str) -> dict[tuple[str, str], str]:
    return {
        (kind, item["metadata"]["name"]): item["metadata"]["uid"]
        for kind in kinds
        for item in api.items(kind, namespace=namespace)
    }


def stages(version: Manifest) -> list[tuple[str, str]]:
    return [(stage["name"], stage["state"]) for stage in version["status"].get("stages", ())]


def test_deletion_removes_everything_and_shows_its_stages(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str]
) -> None:
    name = tenants.ready(orders["deleted"])
    since = api.version(naming.KIND)
    api.delete(naming.KIND, name)

    versions = api.follow(naming.KIND, name, is_gone, since=since)
    deleting = [version for version in versions if version and version["status"]["phase"] == "Deleting"]
    seen = list(dict.fromkeys(stage for version in deleting for stage in stages(version)))
    assert [stage for stage in seen if stage[1] == "Active"] == [("workloads", "Active"), ("namespace", "Active")]
    progress = [version["status"]["progress"] for version in deleting]
    assert progress == sorted(progress)
    for version in deleting:
        assert condition_of(version, "Reconciling")["status"] == "True"
        assert condition_of(version, "Ready")["status"] == "False"
        assert naming.namespace_of(name) in version["status"]["message"]
    assert api.find("Namespace", naming.namespace_of(name)) is None


def test_an_instance_deleted_while_it_is_provisioned_leaves_nothing(api: Kubernetes, tenants: Tenants) -> None:
    name = tenants.order()
    namespace = naming.namespace_of(name)
    api.wait_for("Secret", naming.CREDENTIALS_SECRET, is_there, namespace=namespace)
    api.delete(naming.KIND, name)
    api.wait_for(naming.KIND, name, is_gone)
    assert api.find("Namespace", namespace) is None


def test_a_namespace_that_is_stuck_is_named_with_the_finalizer_that_holds_it(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str]
) -> None:
    name = tenants.ready(orders["held"])
    namespace = naming.namespace_of(name)
    metadata = {"name": "backup", "namespace": namespace, "finalizers": ["example.com/backup"]}
    api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    api.delete(naming.KIND, name)

    live = api.wait_for(naming.KIND, name, lambda live: "example.com/backup" in (live or {})["status"]["message"])
    assert live["status"]["phase"] == "Deleting"
    assert live["status"]["message"].startswith(f"namespace {namespace}: ")
    assert ("namespace", "Active") in stages(live)

    api.patch("ConfigMap", "backup", {"metadata": {"finalizers": None}}, namespace=namespace)
    api.wait_for(naming.KIND, name, is_gone)
    assert api.find("Namespace", namespace) is None


def test_retained_data_stays_and_is_given_back_to_its_customer_alone(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str]
) -> None:
    name = tenants.ready(orders["retained"])
    namespace = naming.namespace_of(name)
    before = uids(api, namespace, *KEPT)
    passwords = api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)["data"]

    api.delete(naming.KIND, name)
    api.wait_for(naming.KIND, name, is_gone)
    assert api.get("Namespace", namespace)["metadata"].get("ownerReferences") is None
    assert uids(api, namespace, *KEPT) == before
    assert api.items("Pod", namespace=namespace) == []

    stranger = {"id": "somebody-else", "email": "else@example.com", "companyName": "Else"}
    api.create(order(name, customer=stranger))
    live = api.wait_for(naming.KIND, name, in_phase("Failed"))
    stalled = condition_of(live, "Stalled")
    assert stalled["reason"] == "NamespaceTaken"
    assert f"belongs to customer 'cust-{name}'; choose another name or remove that namespace" in stalled["message"]
    api.delete(naming.KIND, name)
    api.wait_for(naming.KIND, name, is_gone)
    assert uids(api, namespace, *KEPT) == before

    api.create(order(name))
    live = api.wait_for(naming.KIND, name, is_ready)
    assert uids(api, namespace, *KEPT) == before
    assert api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)["data"] == passwords
    [owner] = api.get("Namespace", namespace)["metadata"]["ownerReferences"]
    assert owner["uid"] == live["metadata"]["uid"]


def test_a_deletion_asked_for_while_no_operator_runs_is_done_by_the_next(
    api: Kubernetes, tenants: Tenants, operators: Operators, orders: dict[str, str]
) -> None:
    name = tenants.ready(orders["orphaned"])
    operators.stop()
    api.delete(naming.KIND, name)
    waiting = tenants.get(name)
    assert waiting["metadata"]["deletionTimestamp"]
    assert waiting["metadata"]["finalizers"] == [naming.FINALIZER]

    operators.usual()
    api.wait_for(naming.KIND, name, is_gone)
    assert api.find("Namespace", naming.namespace_of(name)) is None
