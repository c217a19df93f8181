"""Deleting an instance: everything goes, or the data stays behind, and what is going on can be seen meanwhile."""

from dataclasses import dataclass

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from tests.support.audit import AuditLog
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
from tests.support.waiting import wait_until

KEPT = ("PersistentVolumeClaim", "Secret", "StatefulSet", "Deployment", "Service")
HOLD = "example.com/backup"


@dataclass(frozen=True)
class Going:
    """An instance whose deletion has been asked for: since when, and what was there before."""

    name: str
    since: str
    before: dict[tuple[str, str], str]
    passwords: dict[str, str]

    @property
    def namespace(self) -> str:
        return naming.namespace_of(self.name)


@pytest.fixture(scope="module")
def staying(operators: Operators, tenants: Tenants) -> dict[str, str]:
    """One instance for each way of going, provisioned side by side."""
    operators.usual()
    names = {title: tenants.order() for title in ("deleted", "held", "unbound", "paused", "orphaned")}
    names["retained"] = tenants.order(deletionPolicy="Retain")
    return {title: tenants.ready(name) for title, name in names.items()}


@pytest.fixture(scope="module")
def orphaned(api: Kubernetes, operators: Operators, tenants: Tenants, staying: dict[str, str]) -> Manifest:
    """An instance whose deletion was asked for while no operator ran, as it was then."""
    operators.stop()
    api.delete(naming.KIND, staying["orphaned"])
    return tenants.get(staying["orphaned"])


@pytest.fixture(scope="module")
def going(
    api: Kubernetes, operators: Operators, tenants: Tenants, staying: dict[str, str], orphaned: Manifest
) -> dict[str, Going]:
    """The deletion of all others has been asked for as well, and of one that is still in the making."""
    operators.usual()
    names = {title: name for title, name in staying.items() if name != orphaned["metadata"]["name"]}
    metadata = {"name": "backup", "namespace": naming.namespace_of(names["held"]), "finalizers": [HOLD]}
    api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    api.delete("RoleBinding", naming.TENANT_ROLE, namespace=naming.namespace_of(names["unbound"]))
    tenants.change(names["paused"], paused=True)
    names["unfinished"] = tenants.order()
    api.wait_for("Secret", naming.CREDENTIALS_SECRET, is_there, namespace=naming.namespace_of(names["unfinished"]))
    return {title: delete(api, name) for title, name in names.items()}


def delete(api: Kubernetes, name: str) -> Going:
    namespace = naming.namespace_of(name)
    started = Going(
        name=name,
        since=api.version(naming.KIND),
        before=uids(api, namespace, *KEPT),
        passwords=api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)["data"],
    )
    api.delete(naming.KIND, name)
    return started


def uids(api: Kubernetes, namespace: str, *kinds: str) -> dict[tuple[str, str], str]:
    return {
        (kind, item["metadata"]["name"]): item["metadata"]["uid"]
        for kind in kinds
        for item in api.items(kind, namespace=namespace)
    }


def stages(version: Manifest) -> list[tuple[str, str]]:
    return [(stage["name"], stage["state"]) for stage in version["status"].get("stages", ())]


def assert_gone(api: Kubernetes, name: str) -> None:
    api.wait_for(naming.KIND, name, is_gone)
    assert api.find("Namespace", naming.namespace_of(name)) is None


@pytest.mark.usefixtures("operator")
def test_deletion_removes_everything_and_shows_its_stages(api: Kubernetes, going: dict[str, Going]) -> None:
    deleted = going["deleted"]
    versions = api.follow(naming.KIND, deleted.name, is_gone, since=deleted.since)
    deleting = [version for version in versions if version and version["status"]["phase"] == "Deleting"]
    seen = list(dict.fromkeys(stage for version in deleting for stage in stages(version)))
    assert [stage for stage in seen if stage[1] == "Active"] == [("workloads", "Active"), ("namespace", "Active")]
    progress = [version["status"]["progress"] for version in deleting]
    assert progress == sorted(progress)
    # The pods are stopped first: a namespace with pods in it takes as long as half their grace period to go.
    assert any(": stopping api, dashboard, mqtt-exporter" in version["status"]["message"] for version in deleting)
    for version in deleting:
        assert condition_of(version, "Reconciling")["status"] == "True"
        assert condition_of(version, "Ready")["status"] == "False"
        assert deleted.namespace in version["status"]["message"]
    assert_gone(api, deleted.name)


@pytest.mark.usefixtures("operator")
def test_an_instance_deleted_while_it_is_provisioned_leaves_nothing(api: Kubernetes, going: dict[str, Going]) -> None:
    assert_gone(api, going["unfinished"].name)


@pytest.mark.usefixtures("operator")
def test_an_instance_in_whose_namespace_the_operator_has_lost_its_right_can_be_deleted(
    api: Kubernetes, going: dict[str, Going]
) -> None:
    assert_gone(api, going["unbound"].name)


@pytest.mark.usefixtures("operator")
def test_a_namespace_that_is_stuck_is_named_with_the_finalizer_that_holds_it(
    api: Kubernetes, going: dict[str, Going]
) -> None:
    held = going["held"]
    live = api.wait_for(naming.KIND, held.name, lambda live: HOLD in (live or {})["status"]["message"])
    assert live["status"]["phase"] == "Deleting"
    assert live["status"]["message"].startswith(f"namespace {held.namespace}: ")
    assert ("namespace", "Active") in stages(live)

    api.patch("ConfigMap", "backup", {"metadata": {"finalizers": None}}, namespace=held.namespace)
    assert_gone(api, held.name)


@pytest.mark.usefixtures("operator")
def test_retained_data_stays_and_is_given_back_to_its_customer_alone(api: Kubernetes, going: dict[str, Going]) -> None:
    retained = going["retained"]
    name, namespace, before = retained.name, retained.namespace, retained.before
    api.wait_for(naming.KIND, name, is_gone)
    assert api.get("Namespace", namespace)["metadata"].get("ownerReferences") is None
    assert uids(api, namespace, *KEPT) == before
    wait_until(lambda: api.items("Pod", namespace=namespace) == [])

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
    assert api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)["data"] == retained.passwords
    [owner] = api.get("Namespace", namespace)["metadata"]["ownerReferences"]
    assert owner["uid"] == live["metadata"]["uid"]


@pytest.mark.usefixtures("operator", "going")
def test_a_deletion_asked_for_while_no_operator_runs_is_done_by_the_next(api: Kubernetes, orphaned: Manifest) -> None:
    metadata = orphaned["metadata"]
    assert metadata["deletionTimestamp"]
    assert metadata["finalizers"] == [naming.FINALIZER]
    assert_gone(api, metadata["name"])


@pytest.mark.usefixtures("operator")
def test_a_paused_instance_can_be_deleted(api: Kubernetes, going: dict[str, Going]) -> None:
    assert_gone(api, going["paused"].name)


def test_on_its_way_the_operator_asked_for_nothing_that_it_may_not_do(
    audit: AuditLog, staying: dict[str, str], going: dict[str, Going]
) -> None:
    names = {title: item.name for title, item in going.items()} | staying
    del names["unbound"]
    assert audit.overreaches(*names.values()) == []
