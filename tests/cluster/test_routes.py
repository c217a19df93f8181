"""The front door's routes follow the instances, through everything that may happen to either or to the ConfigMaps."""

from collections.abc import Callable, Iterator

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from mqtt_router.routes import CONFIG_MAPS, DATA_KEY, PUBLISHED_AT_ANNOTATION, config_map, shard_of
from tests.support.audit import AuditLog
from tests.support.kubernetes import Kubernetes, condition_of, in_phase, is_ready
from tests.support.operators import SHORT_LEASE, OperatorProcess, Operators
from tests.support.published import NAMESPACE, Routes, mqtt_host, text_of
from tests.support.tenants import Tenants

DOMAIN = "iot.example.com"
# Whether anybody comes through is test_reachability.py's matter.
SETTINGS = {"FRONT_DOOR": "true", "ROUTE_PROBE": "false", "BASE_DOMAIN": DOMAIN, "ROUTE_PUBLISH_INTERVAL": "0.2"}
EXTERNAL = {"exposure": "External", "external": {"host": "broker.example.net"}}


@pytest.fixture(scope="module")
def frontdoor(operators: Operators) -> Iterator[OperatorProcess]:
    """An operator on a platform with a domain and a front door for MQTT."""
    operators.stop()
    yield operators.start("frontdoor", **SETTINGS)
    operators.stop()


@pytest.fixture(scope="module")
def orders(tenants: Tenants, frontdoor: OperatorProcess) -> dict[str, str]:
    """The instances of this module, provisioned side by side."""
    assert frontdoor.runs
    by_sni = ("steady", "suspended", "moved", "readdressed", "deleted", "victim")
    names = {what: tenants.order() for what in by_sni}
    names["intruder"] = tenants.name()
    taken = {"exposure": "External", "external": {"host": f"mqtt.{names['victim']}.{DOMAIN}"}}
    tenants.create(names["intruder"], mqtt=taken)
    names["first"] = tenants.order(hostname="iot.routes.example")
    return names


@pytest.fixture
def routes(api: Kubernetes) -> Routes:
    return Routes(api)


@pytest.fixture
def steady(tenants: Tenants, orders: dict[str, str]) -> str:
    """The host of an instance that is ready and stays as it is."""
    return mqtt_host(tenants.get(tenants.ready(orders["steady"])))


def test_an_instance_is_ready_when_its_route_is_published_by_the_host_of_its_status(
    tenants: Tenants, routes: Routes, orders: dict[str, str]
) -> None:
    name = tenants.ready(orders["steady"])
    live = tenants.get(name)

    assert mqtt_host(live) == f"mqtt.{name}.{DOMAIN}"
    assert routes.all()[mqtt_host(live)] == routes.target(name)
    assert condition_of(live, "RouteReady")["status"] == "Unknown"
    assert "is published at the front door" in condition_of(live, "RouteReady")["message"]


def test_all_shards_are_there_and_say_when_they_were_written(api: Kubernetes, steady: str) -> None:
    assert steady
    for name in CONFIG_MAPS:
        metadata = api.get("ConfigMap", name, namespace=NAMESPACE)["metadata"]
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "customer-operator"
        assert metadata["labels"]["iotistic.cloud/mqtt-routes"] == "true"
        assert metadata["annotations"][PUBLISHED_AT_ANNOTATION].endswith("Z")


def test_the_route_of_a_suspended_instance_is_withdrawn_and_comes_back(
    api: Kubernetes, tenants: Tenants, routes: Routes, orders: dict[str, str]
) -> None:
    name = tenants.ready(orders["suspended"])
    host = mqtt_host(tenants.get(name))

    tenants.change(name, suspend=True)
    routes.wait(host, None)
    api.wait_for(naming.KIND, name, in_phase("Suspended"))

    tenants.change(name, suspend=False)
    routes.wait(host, routes.target(name))
    api.wait_for(naming.KIND, name, is_ready)


def test_the_route_follows_the_exposure(
    api: Kubernetes, tenants: Tenants, routes: Routes, orders: dict[str, str]
) -> None:
    name = tenants.ready(orders["moved"])
    host = mqtt_host(tenants.get(name))

    for exposure in ("NodePort", "External"):
        tenants.change(name, mqtt=EXTERNAL if exposure == "External" else {"exposure": exposure})
        routes.wait(host, None)
        tenants.change(name, mqtt={"exposure": "SNI", "external": None})
        api.wait_for(naming.KIND, name, is_ready)
        routes.wait(host, routes.target(name))


def test_the_route_follows_the_address_of_the_service(
    api: Kubernetes, tenants: Tenants, routes: Routes, orders: dict[str, str]
) -> None:
    name = tenants.ready(orders["readdressed"])
    host, home = mqtt_host(tenants.get(name)), naming.namespace_of(name)
    before = api.get("Service", "mqtt", namespace=home)

    api.delete("Service", "mqtt", namespace=home)
    after = api.wait_for(
        "Service",
        "mqtt",
        lambda live: live is not None and live["metadata"]["uid"] != before["metadata"]["uid"],
        namespace=home,
    )

    routes.wait(host, f"{after['spec']['clusterIP']}:8883")
    api.wait_for(naming.KIND, name, is_ready)


def test_the_route_of_a_deleted_instance_is_withdrawn(
    api: Kubernetes, tenants: Tenants, routes: Routes, orders: dict[str, str]
) -> None:
    name = tenants.ready(orders["deleted"])
    host = mqtt_host(tenants.get(name))

    api.delete(naming.KIND, name)

    routes.wait(host, None)


Edit = Callable[[Kubernetes, str], object]
EDITS: dict[str, Edit] = {
    "its text": lambda api, name: _edit(api, name, {"data": {DATA_KEY: "evil.example 10.0.0.1:8883\n"}}),
    "another key": lambda api, name: _edit(api, name, {"data": {"other": "x"}}),
    "its label": lambda api, name: _edit(api, name, {"metadata": {"labels": {"iotistic.cloud/mqtt-routes": None}}}),
    "its time": lambda api, name: _edit(api, name, {"metadata": {"annotations": {PUBLISHED_AT_ANNOTATION: None}}}),
    "itself": lambda api, name: api.delete("ConfigMap", name, namespace=NAMESPACE),
}


def _edit(api: Kubernetes, name: str, patch: Manifest) -> Manifest:
    return api.patch("ConfigMap", name, patch, namespace=NAMESPACE)


def is_as_before(before: Manifest) -> Callable[[Manifest | None], bool]:
    def holds(live: Manifest | None) -> bool:
        return (
            live is not None
            and live.get("data") == before["data"]
            and live["metadata"].get("labels") == before["metadata"]["labels"]
            and PUBLISHED_AT_ANNOTATION in live["metadata"].get("annotations", {})
            and live["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
        )

    return holds


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_what_is_changed_by_hand_is_put_right(api: Kubernetes, steady: str, edit: Edit) -> None:
    name = config_map(shard_of(steady))
    before = api.get("ConfigMap", name, namespace=NAMESPACE)

    edit(api, name)

    api.wait_for("ConfigMap", name, is_as_before(before), namespace=NAMESPACE)


def test_what_is_changed_by_hand_costs_no_instance_its_readiness(
    api: Kubernetes, tenants: Tenants, steady: str, orders: dict[str, str]
) -> None:
    name = config_map(shard_of(steady))
    before, since = api.get("ConfigMap", name, namespace=NAMESPACE), api.version(naming.KIND)

    api.delete("ConfigMap", name, namespace=NAMESPACE)
    api.wait_for("ConfigMap", name, is_as_before(before), namespace=NAMESPACE)
    tenants.change(orders["steady"], resources={"api": {"limits": {"cpu": "300m"}}})
    versions = api.follow(naming.KIND, orders["steady"], is_ready, since=since)

    assert {condition_of(live, "RouteReady")["status"] for live in versions} == {"Unknown"}


def test_nobody_gets_the_host_of_another_by_having_named_it_before(
    api: Kubernetes, tenants: Tenants, routes: Routes, orders: dict[str, str]
) -> None:
    """Its status names the host of the victim until the pass that has created its Service has come to an end."""
    victim = tenants.ready(orders["victim"])
    host = mqtt_host(tenants.get(victim))
    target = routes.target(victim)
    intruder = tenants.ready(orders["intruder"])
    assert mqtt_host(tenants.get(intruder)) == host
    since = api.version("ConfigMap", namespace=NAMESPACE)

    tenants.change(intruder, mqtt={"exposure": "SNI", "external": None})
    api.wait_for(naming.KIND, intruder, is_ready)
    tenants.change(victim, suspend=True)

    shard = config_map(shard_of(host))
    seen = api.follow("ConfigMap", shard, lambda live: host not in text_of(live), namespace=NAMESPACE, since=since)
    assert {line for live in seen for line in text_of(live).splitlines() if host in line} <= {f"{host} {target}"}
    assert routes.all()[f"mqtt.{intruder}.{DOMAIN}"] == routes.target(intruder)


def test_a_hostname_that_is_asked_for_twice_is_the_matter_of_one_instance_alone(
    api: Kubernetes, tenants: Tenants, routes: Routes, orders: dict[str, str]
) -> None:
    first = tenants.get(tenants.ready(orders["first"]))
    second = tenants.order(hostname="iot.routes.example")
    live = api.wait_for(naming.KIND, second, in_phase("Failed"))
    assert condition_of(live, "Stalled")["reason"] == "HostnameTaken"

    later = tenants.get(tenants.ready())
    published = routes.all()
    for one in (first, later):
        assert published[mqtt_host(one)] == routes.target(one["metadata"]["name"])
    assert not any(second in host for host in published)


def test_a_steady_cluster_is_written_to_by_nobody(
    api: Kubernetes, audit: AuditLog, steady: str, frontdoor: OperatorProcess, tenants: Tenants
) -> None:
    """Also not when instances change in ways that are none of their routes'."""
    log = audit.from_now_on()
    name = tenants.name()
    tenants.create(name, mqtt={"exposure": "NodePort"})
    tenants.ready(name)

    assert steady
    assert [
        item for item in log.requests() if item.writes and item.resource == "configmaps" and item.namespace == NAMESPACE
    ] == []
    assert frontdoor.metric("customer_operator_routes_refused") == 0
    assert frontdoor.metric("customer_operator_route_shards_pending") == 0


def test_who_comes_next_compares_everything(
    api: Kubernetes,
    operators: Operators,
    routes: Routes,
    frontdoor: OperatorProcess,
    steady: str,
    orders: dict[str, str],
) -> None:
    """Of two replicas the standby takes over, and finds what was changed while nobody led."""
    target = routes.target(orders["steady"])
    successor = operators.stand_by("successor", **SETTINGS, **SHORT_LEASE)
    assert successor.metric("customer_operator_routes") == frontdoor.metric("customer_operator_routes")
    assert successor.metric("customer_operator_route_writes_total") == 0
    frontdoor.kill()
    name = config_map(shard_of(steady))
    _edit(api, name, {"data": {DATA_KEY: f"{steady} 10.0.0.1:8883\n"}})

    successor.wait_until_leads(api)

    routes.wait(steady, target)
    api.wait_for(naming.KIND, orders["steady"], is_ready)
