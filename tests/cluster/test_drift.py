"""What somebody changes in an instance's namespace is put right: by event where a kind is watched, else by resync."""

from dataclasses import dataclass
from typing import Any

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from tests.support.audit import AuditLog
from tests.support.kubernetes import Condition, Kubernetes, condition_of, is_gone, is_ready, is_there
from tests.support.operators import OperatorProcess, Operators
from tests.support.tenants import Tenants

ANYBODY = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}


@dataclass(frozen=True)
class Drift:
    """One thing that somebody does to an object: JSON patch operations, or its deletion when there are none."""

    kind: str
    name: str
    operations: tuple[Manifest, ...] = ()

    def do(self, api: Kubernetes, namespace: str) -> Condition:
        """Do it, and return the condition that it has been undone."""
        before = api.get(self.kind, self.name, namespace=namespace)
        if self.operations:
            after = api.edit(self.kind, self.name, *self.operations, namespace=namespace)
            assert content(after) != content(before)
            return lambda live: live is not None and content(live) == content(before)
        api.delete(self.kind, self.name, namespace=namespace)
        return lambda live: live is not None and live["metadata"]["uid"] != before["metadata"]["uid"]


def content(live: Manifest) -> Manifest:
    """Return what an object says, without what the cluster notes on it."""
    kept = {key: value for key, value in live.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    return {**kept, "labels": live["metadata"].get("labels")}


def secret(name: str, namespace: str, *, labels: dict[str, Any]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
    }


def replace(path: str, value: Any) -> Manifest:
    return {"op": "replace", "path": path, "value": value}


def remove(path: str) -> Manifest:
    return {"op": "remove", "path": path}


def add(path: str, value: Any) -> Manifest:
    return {"op": "add", "path": path, "value": value}


def label(name: str) -> str:
    return "/metadata/labels/" + name.replace("/", "~1")


SEEN = {
    "a Deployment deleted": Drift("Deployment", "api"),
    "a StatefulSet deleted": Drift("StatefulSet", "postgres"),
    "a Service deleted": Drift("Service", "mosquitto"),
    "a ResourceQuota deleted": Drift("ResourceQuota", "quota"),
    "a port renumbered": Drift("Service", "mqtt", (replace("/spec/ports/0/port", 9999),)),
    "a port added": Drift("Service", "api", (add("/spec/ports/-", {"name": "debug", "port": 9229}),)),
    "a selector changed": Drift("Service", "dashboard", (replace("/spec/selector", {"app": "else"}),)),
    "an image changed": Drift(
        "Deployment", "dashboard", (replace("/spec/template/spec/containers/0/image", "example.test/miner:1"),)
    ),
    "a container added": Drift(
        "Deployment",
        "mqtt-exporter",
        (add("/spec/template/spec/containers/-", {"name": "side", "image": "example.test/side:1"}),),
    ),
    "a variable added": Drift(
        "Deployment", "api", (add("/spec/template/spec/containers/0/env/-", {"name": "DEBUG", "value": "1"}),)
    ),
    # The policy customer-operator-workloads refuses what a server-side apply would leave of this: it is overwritten.
    "another image that mounts its node's files": Drift(
        "Deployment",
        "dashboard",
        (
            replace("/spec/template/spec/containers/0/image", "example.test/miner:1"),
            add("/spec/template/spec/volumes/-", {"name": "node", "hostPath": {"path": "/"}}),
        ),
    ),
    "a workload scaled down": Drift("StatefulSet", "mosquitto", (replace("/spec/replicas", 0),)),
    "a label removed": Drift("Service", "postgres", (remove(label(naming.COMPONENT_LABEL)),)),
    "a quota raised": Drift("ResourceQuota", "quota", (replace("/spec/hard/pods", "500"),)),
    "a NetworkPolicy deleted": Drift("NetworkPolicy", "default-deny"),
    "a NetworkPolicy opened": Drift("NetworkPolicy", "postgres", (replace("/spec", ANYBODY),)),
    "a LimitRange deleted": Drift("LimitRange", "defaults"),
    "an account given a token": Drift("ServiceAccount", "api", (replace("/automountServiceAccountToken", True),)),
    "the operator's own RoleBinding deleted": Drift("RoleBinding", naming.TENANT_ROLE),
    "the label by which a Service is watched removed": Drift("Service", "api", (remove(label(naming.INSTANCE_LABEL)),)),
}

UNSEEN = {
    "a Secret deleted": Drift("Secret", "api"),
    "the generated passwords deleted": Drift("Secret", naming.CREDENTIALS_SECRET),
    "a Secret edited": Drift("Secret", "mosquitto", (replace("/data/mosquitto.conf", "bm9uc2Vuc2U="),)),
}


@pytest.fixture(scope="module")
def orders(operators: Operators, tenants: Tenants) -> dict[str, str]:
    """Two instances, provisioned side by side."""
    operators.usual()
    return {"edited": tenants.order(), "evicted": tenants.order()}


@pytest.fixture(scope="module")
def evicted(api: Kubernetes, orders: dict[str, str], tenants: Tenants) -> dict[str, Manifest]:
    """Delete an instance's whole namespace; return what was there before."""
    name = tenants.ready(orders["evicted"])
    namespace = naming.namespace_of(name)
    before = {
        "Namespace": api.get("Namespace", namespace),
        "Secret": api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace),
    }
    api.delete("Namespace", namespace)
    return before


@pytest.fixture(scope="module")
def namespace(orders: dict[str, str], tenants: Tenants, evicted: dict[str, Manifest]) -> str:
    """The namespace of a Ready instance; meanwhile the other's is going."""
    return naming.namespace_of(tenants.ready(orders["edited"]))


@pytest.fixture(scope="module")
def passwords(api: Kubernetes, namespace: str) -> dict[str, str]:
    """The generated passwords as they were in the beginning."""
    return dict(api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)["data"])


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("drift", SEEN.values(), ids=SEEN.keys())
def test_what_is_watched_is_restored_by_the_event(
    api: Kubernetes, namespace: str, passwords: dict[str, str], drift: Drift
) -> None:
    restored = drift.do(api, namespace)
    api.wait_for(drift.kind, drift.name, restored, namespace=namespace)
    assert api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)["data"] == passwords


def test_an_instance_is_ready_again_after_all_that(
    api: Kubernetes, operator: OperatorProcess, orders: dict[str, str], namespace: str
) -> None:
    api.wait_for(naming.KIND, orders["edited"], is_ready)
    claims = api.items("PersistentVolumeClaim", namespace=namespace)
    assert {item["metadata"]["name"] for item in claims} == {"data-postgres-0", "data-mosquitto-0"}
    assert operator.runs


@pytest.fixture(scope="module")
def resyncing(operators: Operators, namespace: str, audit: AuditLog) -> OperatorProcess:
    """An operator that compares everything every few seconds, and has done so once."""
    log = audit.from_now_on()
    operators.stop()
    replica = operators.start("resyncing", RESYNC_INTERVAL="3")
    log.wait_until(
        lambda seen: any(
            item.resource == "secrets" and item.verb == "list" and item.namespace == namespace for item in seen
        )
    )
    return replica


@pytest.fixture(scope="module")
def drifted(api: Kubernetes, resyncing: OperatorProcess, namespace: str) -> dict[str, Condition]:
    """Break everything that is not watched at once; return the conditions that it is whole again."""
    name = namespace.removeprefix("customer-")
    api.create(secret("leftover", namespace, labels={naming.INSTANCE_LABEL: name}))
    api.create(secret("foreign", namespace, labels={}))
    return {title: drift.do(api, namespace) for title, drift in UNSEEN.items()}


@pytest.mark.parametrize("title", UNSEEN)
def test_what_is_not_watched_is_restored_at_the_resync(
    api: Kubernetes, namespace: str, drifted: dict[str, Condition], title: str
) -> None:
    drift = UNSEEN[title]
    api.wait_for(drift.kind, drift.name, drifted[title], namespace=namespace)


@pytest.mark.usefixtures("drifted")
def test_passwords_that_were_deleted_come_back_the_same(
    api: Kubernetes, namespace: str, passwords: dict[str, str]
) -> None:
    live = api.wait_for("Secret", naming.CREDENTIALS_SECRET, is_there, namespace=namespace)
    assert live["data"] == passwords


@pytest.mark.usefixtures("drifted")
def test_what_carries_our_label_but_is_not_part_of_the_stack_is_removed(api: Kubernetes, namespace: str) -> None:
    api.wait_for("Secret", "leftover", is_gone, namespace=namespace)
    assert api.find("Secret", "foreign", namespace=namespace) is not None


@pytest.mark.usefixtures("drifted")
def test_an_instance_that_was_restored_is_ready(api: Kubernetes, orders: dict[str, str]) -> None:
    live = api.wait_for(naming.KIND, orders["edited"], is_ready)
    assert condition_of(live, "Stalled")["status"] == "False"


def test_a_namespace_deleted_by_hand_is_built_again_with_new_passwords(
    api: Kubernetes, orders: dict[str, str], evicted: dict[str, Manifest]
) -> None:
    name = orders["evicted"]
    namespace = naming.namespace_of(name)
    old = evicted["Namespace"]["metadata"]["uid"]
    api.wait_for("Namespace", namespace, lambda live: live is not None and live["metadata"]["uid"] != old)
    api.wait_for(naming.KIND, name, is_ready)
    fresh = api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)["data"]
    assert fresh.keys() == evicted["Secret"]["data"].keys()
    for key in fresh:
        # The authority is the platform's, and the same for all; everything else is made afresh.
        assert (fresh[key] == evicted["Secret"]["data"][key]) == (key == "tls_ca_pem")
