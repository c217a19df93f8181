"""What becomes of a running instance when its spec, its license or the time changes."""

import time
from typing import Any

import pytest

from customer_operator import naming
from customer_operator.licensing.token import audience
from customer_operator.model.instance import Plan
from customer_operator.naming import Manifest
from tests.support import licenses
from tests.support.audit import AuditLog
from tests.support.kubernetes import Condition, Kubernetes, condition_of, in_phase, is_gone, is_ready
from tests.support.operators import Operators
from tests.support.tenants import Tenants
from tests.support.waiting import wait_until

DATA = ("StatefulSet", "PersistentVolumeClaim", "Secret")
MONTH = 30 * 86_400


def license(name: str, *, plan: Plan = Plan.TRIAL, lasts: int = MONTH, **claims: Any) -> str:
    """Return a license of an instance that lasts so many seconds."""
    return licenses.sign(aud=audience(name), plan=plan.value, exp=int(time.time()) + lasts, **claims)


@pytest.fixture(scope="module", autouse=True)
def orders(operators: Operators, tenants: Tenants) -> dict[str, str]:
    """One instance for each thing that happens, provisioned side by side."""
    operators.usual()
    names = {
        "plan": tenants.order(plan="trial"),
        "suspended": tenants.order(),
        "paused": tenants.order(),
        "external": tenants.order(),
        "refused": tenants.order(),
        "broken": tenants.order(images={"dashboard": "example.test/dashboard:does-not-exist"}),
    }
    for title in ("renewed", "mistaken", "expiring"):
        names[title] = tenants.name()
        tenants.create(names[title], license={"key": license(names[title])})
    return names


def ready(api: Kubernetes, name: str) -> Manifest:
    return api.wait_for(naming.KIND, name, is_ready)


def uids(api: Kubernetes, name: str, *kinds: str) -> dict[tuple[str, str], str]:
    """Return the identities of an instance's objects."""
    return {
        (kind, item["metadata"]["name"]): item["metadata"]["uid"]
        for kind in kinds
        for item in api.items(kind, namespace=naming.namespace_of(name))
    }


def templates(api: Kubernetes, name: str) -> dict[str, Manifest]:
    """Return the pod templates of an instance's workloads: a pod is replaced exactly when its template changes."""
    namespace = naming.namespace_of(name)
    items = [*api.items("Deployment", namespace=namespace), *api.items("StatefulSet", namespace=namespace)]
    return {item["metadata"]["name"]: item["spec"]["template"] for item in items}


def changed(before: dict[str, Manifest], after: dict[str, Manifest]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def test_a_change_of_plan_and_back_keeps_the_data(api: Kubernetes, tenants: Tenants, orders: dict[str, str]) -> None:
    name = orders["plan"]
    ready(api, name)
    namespace = naming.namespace_of(name)
    before, quota = uids(api, name, *DATA), api.get("ResourceQuota", "quota", namespace=namespace)["spec"]
    pods = uids(api, name, "Pod")

    tenants.change(name, plan="professional")
    assert ready(api, name)["status"]["plan"] == "professional"
    assert uids(api, name, *DATA) == before
    assert api.get("Deployment", "dashboard", namespace=namespace)["status"]["readyReplicas"] == 2
    assert api.get("ResourceQuota", "quota", namespace=namespace)["spec"] != quota
    assert api.find("PodDisruptionBudget", "dashboard", namespace=namespace) is not None

    tenants.change(name, plan="trial")
    assert ready(api, name)["status"]["plan"] == "trial"
    assert uids(api, name, *DATA) == before
    assert api.get("Deployment", "dashboard", namespace=namespace)["status"]["readyReplicas"] == 1
    api.wait_for("PodDisruptionBudget", "dashboard", is_gone, namespace=namespace)
    api.wait_for("ResourceQuota", "quota", lambda live: live is not None and live["spec"] == quota, namespace=namespace)
    stateful = {key: uid for key, uid in pods.items() if key[1] in ("postgres-0", "mosquitto-0")}
    assert stateful.items() <= uids(api, name, "Pod").items()


def test_a_renewed_license_restarts_the_api_and_nothing_else(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str]
) -> None:
    name = orders["renewed"]
    first = ready(api, name)["status"]["license"]
    assert (first["state"], first["keyId"]) == ("Valid", "k1")
    before, pods = templates(api, name), uids(api, name, "Pod")

    tenants.change(name, license={"key": license(name, lasts=2 * MONTH)})
    assert ready(api, name)["status"]["license"]["expiresAt"] > first["expiresAt"]
    assert changed(before, templates(api, name)) == {"api"}
    others = {key: uid for key, uid in pods.items() if not key[1].startswith("api-")}
    assert others.items() <= uids(api, name, "Pod").items()


def test_a_license_for_a_smaller_plan_decides_and_says_so(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str]
) -> None:
    name = orders["renewed"]
    ready(api, name)
    tenants.change(name, plan="professional", license={"key": license(name, plan=Plan.STARTER, lasts=3 * MONTH)})
    live = ready(api, name)
    assert live["status"]["plan"] == "starter"
    valid = condition_of(live, "LicenseValid")
    assert (valid["status"], valid["reason"]) == ("False", "PlanNotCovered")
    assert "spec.plan professional needs a license for it" in valid["message"]


# What is wrong with a license, and what the refusal says to do about it.
REJECTED = {
    "issued for another instance": ({"aud": audience("somebody-else")}, "its aud must be 'customer-instance:"),
    "issued by somebody else": ({"iss": "https://example.com"}, f"its iss must be '{licenses.ISSUER}'"),
    "for a plan that does not exist": ({"plan": "platinum"}, "plan must be one of trial, starter"),
}


@pytest.mark.parametrize(("claims", "cure"), REJECTED.values(), ids=REJECTED.keys())
def test_an_invalid_license_is_reported_with_the_cure_and_touches_nothing(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str], claims: dict[str, Any], cure: str
) -> None:
    name = orders["mistaken"]
    tenants.change(name, license={"key": license(name)})
    ready(api, name)
    before, pods = templates(api, name), uids(api, name, "Pod", *DATA)

    tenants.change(name, license={"key": licenses.sign(**{"aud": audience(name), **claims})})
    live = api.wait_for(naming.KIND, name, in_phase("Failed"))
    valid, stalled = condition_of(live, "LicenseValid"), condition_of(live, "Stalled")
    assert (valid["status"], valid["reason"]) == ("False", "LicenseInvalid")
    assert valid["message"].startswith("spec.license: ")
    assert cure in valid["message"]
    assert (stalled["status"], stalled["reason"]) == ("True", "LicenseInvalid")
    assert live["status"]["license"] == {"state": "Invalid"}
    assert live["status"]["attempts"] == 0
    assert templates(api, name) == before
    assert uids(api, name, "Pod", *DATA) == pods


def test_a_license_that_runs_out_suspends_and_a_renewed_one_brings_everything_back(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str]
) -> None:
    name = orders["expiring"]
    ready(api, name)
    before = uids(api, name, *DATA)
    since = api.version(naming.KIND)
    tenants.change(name, license={"key": license(name, lasts=3)})

    # Nobody touches the resource again: time alone takes the license through its grace (ten seconds here) to its end.
    versions = api.follow(naming.KIND, name, in_phase("Suspended"), since=since)
    states = [version["status"]["license"]["state"] for version in versions if version]
    assert list(dict.fromkeys(states)) == ["Valid", "Grace", "Expired"]
    live = versions[-1]
    assert live is not None
    assert "all data is kept, a renewed license brings it back" in live["status"]["message"]
    assert condition_of(live, "LicenseValid")["reason"] == "Expired"
    wait_until(lambda: api.items("Pod", namespace=naming.namespace_of(name)) == [])
    assert uids(api, name, *DATA) == before

    tenants.change(name, license={"key": license(name)})
    assert ready(api, name)["status"]["license"]["state"] == "Valid"
    assert uids(api, name, *DATA) == before


def test_a_suspended_instance_has_no_pods_and_all_its_data(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str]
) -> None:
    name = orders["suspended"]
    ready(api, name)
    before = uids(api, name, *DATA, "Service")
    tenants.change(name, suspend=True)
    live = api.wait_for(naming.KIND, name, in_phase("Suspended"))
    assert live["status"]["message"] == "suspended by spec.suspend; all data is kept"
    assert condition_of(live, "Ready")["status"] == "False"
    assert condition_of(live, "Stalled")["status"] == "False"
    wait_until(lambda: api.items("Pod", namespace=naming.namespace_of(name)) == [])

    tenants.change(name, suspend=False)
    ready(api, name)
    assert uids(api, name, *DATA, "Service") == before


def test_a_paused_instance_is_looked_at_and_not_touched(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str]
) -> None:
    name = orders["paused"]
    ready(api, name)
    namespace = naming.namespace_of(name)
    tenants.change(name, paused=True)
    ready(api, name)
    api.delete("Deployment", "mqtt-exporter", namespace=namespace)
    live = api.wait_for(naming.KIND, name, in_phase("Degraded"))
    missing = condition_of(live, "MqttExporterReady")
    assert (missing["status"], missing["reason"]) == ("False", "NotCreated")
    assert condition_of(live, "ApiReady")["status"] == "True"

    # A change that would alter half the stack comes as far as the status, and no further.
    before = templates(api, name)
    tenants.change(name, images={"api": "example.test/api:2"}, plan="professional")
    live = api.wait_for(naming.KIND, name, in_force("professional"))
    assert condition_of(live, "Ready")["status"] == "False"
    assert templates(api, name) == before

    tenants.change(name, paused=False)
    ready(api, name)
    assert templates(api, name).keys() - before.keys() == {"mqtt-exporter"}
    assert templates(api, name)["api"]["spec"]["containers"][0]["image"] == "example.test/api:2"


# What the schema allows and the platform does not, and what the refusal says to do about it.
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "an image from anywhere": (
        {"images": {"api": "example.testing/api:1"}},
        "spec.images.api",
        "(the operator's setting IMAGE_REGISTRIES); use one of those, or remove the field",
    ),
    "an image that can move": (
        {"images": {"api": "example.test/api:latest"}},
        "spec.images.api",
        "give a version's tag or a digest",
    ),
    "a host of the platform": ({"hostname": "other.localhost"}, "spec.hostname", "use a domain of your own"),
    "a broker on a node": (
        {"mqtt": {"exposure": "External", "external": {"host": "169.254.169.254"}}},
        "spec.mqtt.external.host",
        "give the public name or address of a broker outside the platform",
    ),
}


@pytest.mark.parametrize(("spec", "field", "cure"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_platform_does_not_allow_is_refused_with_the_cure_and_touches_nothing(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str], spec: dict[str, Any], field: str, cure: str
) -> None:
    name = orders["refused"]
    ready(api, name)
    before, pods = templates(api, name), uids(api, name, "Pod", *DATA)

    tenants.change(name, **spec)
    live = api.wait_for(naming.KIND, name, in_phase("Failed"))
    stalled = condition_of(live, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "InvalidSpec")
    assert stalled["message"].startswith(f"{field}: ")
    assert cure in stalled["message"]
    assert templates(api, name) == before
    assert uids(api, name, "Pod", *DATA) == pods

    tenants.change(name, **{**dict.fromkeys(spec), "mqtt": {"exposure": "NodePort", "external": None}})
    ready(api, name)


def in_force(plan: str) -> Condition:
    """Return the condition that the operator has looked at the latest spec, and this plan is in force."""

    def holds(live: Manifest | None) -> bool:
        assert live is not None
        status, generation = live["status"], live["metadata"]["generation"]
        return bool((status["observedGeneration"], status["plan"]) == (generation, plan))

    return holds


def test_an_image_that_cannot_be_pulled_shows_which_component_waits(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str]
) -> None:
    name = orders["broken"]
    live = api.wait_for(naming.KIND, name, only_unready("DashboardReady"))
    assert live["status"]["phase"] == "Provisioning"
    assert live["status"]["message"] == "waiting for dashboard"
    assert 40 < live["status"]["progress"] < 100
    stages = {stage["name"]: stage["state"] for stage in live["status"]["stages"]}
    assert [stage for stage, state in stages.items() if state != "Done"] == ["dashboard"]

    tenants.change(name, images={"dashboard": "example.test/dashboard:1"})
    ready(api, name)


def only_unready(kind: str) -> Condition:
    """Return the condition that every component but one is ready."""

    def holds(live: Manifest | None) -> bool:
        components = ("PostgresReady", "MosquittoReady", "MqttExporterReady", "ApiReady", "DashboardReady")
        return all((condition_of(live, one).get("status") == "True") == (one != kind) for one in components)

    return holds


def test_an_external_broker_takes_the_place_of_our_own(
    api: Kubernetes, tenants: Tenants, orders: dict[str, str]
) -> None:
    name = orders["external"]
    ready(api, name)
    namespace = naming.namespace_of(name)
    broker = {"host": "broker.example", "port": 8884, "credentialsSecretRef": {"name": f"login-of-{name}"}}
    tenants.change(name, mqtt={"exposure": "External", "external": broker})

    live = api.wait_for(naming.KIND, name, in_phase("Failed"))
    message = condition_of(live, "Stalled")["message"]
    refusal = f"namespace {naming.OPERATOR_NAMESPACE} has no Secret login-of-{name} for this instance"
    assert f"{refusal}; create it there with the label {naming.INSTANCE_LABEL}={name}" in message
    assert api.find("StatefulSet", "mosquitto", namespace=namespace) is not None

    login = secret(f"login-of-{name}", instance=name, username="fake-user", password="fake-password")
    api.create({**login, "metadata": {**login["metadata"], "labels": {}}})
    unlabelled = api.wait_for(naming.KIND, name, tried_again(api, name, seconds_ago=1))
    assert condition_of(unlabelled, "Stalled")["message"] == message

    api.patch("Secret", f"login-of-{name}", login, namespace=naming.OPERATOR_NAMESPACE)
    api.wait_for(naming.KIND, name, tried_again(api, name, seconds_ago=0))
    live = ready(api, name)
    assert live["status"]["urls"]["mqtt"] == "mqtts://broker.example:8884"
    assert condition_of(live, "MosquittoReady")["message"] == "not part of this instance"
    left = {
        (kind, item["metadata"]["name"])
        for kind in ("StatefulSet", "Deployment", "Service", "Secret", "NetworkPolicy", "ServiceAccount", "Pod")
        for item in api.items(kind, namespace=namespace)
        if any(word in item["metadata"]["name"] for word in ("mosquitto", "mqtt", "broker"))
    }
    assert left == set()


def test_the_operator_asked_for_nothing_that_it_may_not_do(audit: AuditLog, orders: dict[str, str]) -> None:
    assert audit.overreaches(*orders.values()) == []


def tried_again(api: Kubernetes, name: str, *, seconds_ago: int) -> Condition:
    """Ask for another try, at a moment of its own, and return the condition that it has been made."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds_ago))
    api.patch(naming.KIND, name, {"metadata": {"annotations": {naming.RETRY_AT_ANNOTATION: moment}}})
    return lambda live: live is not None and live["status"].get("lastHandledRetryAt") == moment


def secret(name: str, *, instance: str, **values: str) -> Manifest:
    labels = {naming.INSTANCE_LABEL: instance}
    metadata = {"name": name, "namespace": naming.OPERATOR_NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}
