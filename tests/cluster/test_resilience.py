"""Replicas that die, an API server that goes away, rights that are missing for a while: the work is done in the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from customer_operator import naming
from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from tests.support import licenses
from tests.support.kubernetes import Kubernetes, condition_of, in_phase, is_ready, is_there
from tests.support.operators import OperatorProcess, Operators
from tests.support.tenants import Tenants

# The moments at which the operator is killed: when an object of this kind and name has just appeared.
MOMENTS = {
    "the namespace": ("Namespace", None),
    "the passwords": ("Secret", naming.CREDENTIALS_SECRET),
    "the quota": ("ResourceQuota", "quota"),
    "the database": ("StatefulSet", "postgres"),
}


@dataclass(frozen=True)
class Survivor:
    """An instance in whose making the operator was killed, and the passwords that there were by then, if any."""

    name: str
    passwords: Manifest | None


@pytest.fixture(scope="module")
def survivors(api: Kubernetes, operators: Operators, tenants: Tenants) -> dict[str, Survivor]:
    """Kill the operator at every moment, each time with one more instance in the making; the last one stays."""
    operators.stop()
    found = {}
    # One pod whose container is started again: it keeps its name, and so may take its own lease up at once.
    replica = operators.start("killed", IDENTITY="pod-0")
    for title, (kind, name) in MOMENTS.items():
        tenant = tenants.order()
        namespace = naming.namespace_of(tenant)
        api.wait_for(kind, name or namespace, is_there, namespace=namespace if name else None)
        replica.kill()
        secret = api.find("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)
        found[title] = Survivor(name=tenant, passwords=secret and secret["data"])
        replica = operators.start("killed", IDENTITY="pod-0")
    return found


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_operator_killed_just_after_goes_on_where_it_was(
    api: Kubernetes, survivors: dict[str, Survivor], moment: str
) -> None:
    survivor = survivors[moment]
    live = api.wait_for(naming.KIND, survivor.name, is_ready)
    assert live["status"]["attempts"] == 0
    namespace = naming.namespace_of(survivor.name)
    secret = api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)
    assert survivor.passwords in (None, secret["data"])
    workloads = [item for kind in ("Deployment", "StatefulSet") for item in api.items(kind, namespace=namespace)]
    assert {item["metadata"]["name"]: item["metadata"]["generation"] for item in workloads} == dict.fromkeys(
        ("api", "dashboard", "mqtt-exporter", "mosquitto", "postgres"), 1
    )
    assert len(api.items("ReplicaSet", namespace=namespace)) == 3


def passes(operator: OperatorProcess, outcome: str) -> float:
    """Return how many passes have ended with an outcome."""
    return operator.metric("customer_operator_reconcile_seconds_count", outcome=outcome)


def test_an_api_server_that_goes_away_costs_time_and_no_attempt(
    cluster: LocalCluster, api: Kubernetes, operator: OperatorProcess, tenants: Tenants
) -> None:
    names = [tenants.order() for _ in range(2)]
    for name in names:
        api.wait_for("Namespace", naming.namespace_of(name), is_there)
    failed = passes(operator, "failed")
    cluster.stop_component("kube-apiserver")
    operator.wait_for_log("the API server is away, work waits for it")
    cluster.start_component("kube-apiserver")
    for name in names:
        assert api.wait_for(naming.KIND, name, is_ready)["status"]["attempts"] == 0
    assert passes(operator, "failed") == failed
    assert operator.runs


@contextmanager
def right_removed(api: Kubernetes, resource: str) -> Iterator[None]:
    """Take a right in the namespaces of instances away from the operator, and give it back."""
    role = api.get("ClusterRole", naming.TENANT_ROLE)
    rules = [{**rule, "resources": [name for name in rule["resources"] if name != resource]} for rule in role["rules"]]
    api.patch("ClusterRole", naming.TENANT_ROLE, {"rules": rules})
    try:
        yield
    finally:
        api.patch("ClusterRole", naming.TENANT_ROLE, {"rules": role["rules"]})


def attempts(versions: list[Manifest | None]) -> list[tuple[int, bool]]:
    """Return the attempts that a status counted, and whether each said when the next one is."""
    statuses = [(version or {}).get("status") or {} for version in versions]
    return list(dict.fromkeys((status["attempts"], "nextAttemptAt" in status) for status in statuses if status))


@pytest.mark.usefixtures("operator")
def test_an_outage_is_tried_again_then_given_up_and_a_mistake_is_not_tried_at_all(
    api: Kubernetes, tenants: Tenants
) -> None:
    mistaken = tenants.order(license={"key": licenses.sign(key_id="unknown")})
    refused = api.wait_for(naming.KIND, mistaken, in_phase("Failed"))
    assert "which the operator does not know" in refused["status"]["message"]

    since = api.version(naming.KIND)
    with right_removed(api, "networkpolicies"):
        annotated, changed = tenants.order(), tenants.order()
        for name in (annotated, changed):
            versions = api.follow(naming.KIND, name, in_phase("Failed"), since=since)
            assert attempts(versions) == [(0, False), (1, True), (2, True), (3, False)]
            stalled = condition_of(versions[-1], "Stalled")
            assert (stalled["status"], stalled["reason"]) == ("True", "PermissionMissing")
            assert stalled["message"].startswith("gave up after 3 tries: ")
            assert "networkpolicies" in stalled["message"]

    # All that time nobody has written to the instance whose license is wrong.
    assert tenants.get(mistaken)["metadata"]["resourceVersion"] == refused["metadata"]["resourceVersion"]

    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    api.patch(naming.KIND, annotated, {"metadata": {"annotations": {naming.RETRY_AT_ANNOTATION: now}}})
    tenants.change(changed, hostname="iot.example.com")
    for name in (annotated, changed):
        live = api.wait_for(naming.KIND, name, is_ready)
        assert live["status"]["attempts"] == 0
        assert condition_of(live, "Stalled")["status"] == "False"


def test_an_operator_whose_kubeconfig_names_a_token_file_sees_and_builds(
    operators: Operators, operator_kubeconfig: Path, tenants: Tenants, tmp_path: Path
) -> None:
    document = yaml.safe_load(operator_kubeconfig.read_text())
    [user] = document["users"]
    (tmp_path / "token").write_text(f"{user['user']['token']}\n")
    user["user"] = {"tokenFile": "token"}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(document))
    operators.stop()
    operators.start("by-token-file", KUBECONFIG=str(tmp_path / "kubeconfig"))
    tenants.ready()
