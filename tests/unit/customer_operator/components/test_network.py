"""Which connections the NetworkPolicies allow: the whole matrix of who, whom and where, against the list of flows."""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import pytest

from customer_operator import naming
from customer_operator.components import network, stack
from customer_operator.components.context import Context
from customer_operator.model.brokers import ranges
from customer_operator.observed import drift
from tests.support.brokers import ALLOWED_ADDRESSES, FORBIDDEN_ADDRESSES
from tests.support.generate import make_context, make_instance, make_platform
from tests.support.netpol import Endpoint, allows, lets_in, lets_out

PORTS = [
    (port, "TCP") for port in (22, 53, 80, 443, 1883, 3002, 5432, 6443, 8080, 8089, 8883, 9001, 9187, 9234, 10250)
] + [(53, "UDP"), (5432, "UDP")]

COMPONENTS = ("postgres", "mosquitto", "mqtt-exporter", "api", "dashboard")
SOLVER = {"acme.cert-manager.io/http01-solver": "true"}


def _pod(name: str, address: str, namespace: str, labels: dict[str, str] | None = None) -> Endpoint:
    return Endpoint(name=name, address=address, namespace=namespace, labels=labels or {"app": name})


def _tenant(instance: str, subnet: int, prefix: str = "") -> list[Endpoint]:
    namespace = naming.namespace_of(instance)
    return [
        _pod(f"{prefix}{component}", f"10.244.{subnet}.{number}", namespace, naming.labels(instance, component))
        for number, component in enumerate(COMPONENTS, start=1)
    ]


OURS = [
    *_tenant("acme", 1),
    _pod("solver", "10.244.1.50", "customer-acme", SOLVER),
    _pod("stranger", "10.244.1.51", "customer-acme"),
]
OTHERS = [
    *_tenant("other", 2, prefix="other-"),
    _pod("ingress", "10.244.3.1", "ingress"),
    _pod("router", "10.244.4.1", "mqtt-router"),
    _pod("monitoring", "10.244.5.1", "monitoring"),
    _pod("dns", "10.244.6.1", "kube-system", {"k8s-app": "kube-dns"}),
    _pod("beside-dns", "10.244.6.2", "kube-system", {"k8s-app": "metrics-server"}),
    _pod("not-dns", "10.244.6.3", "default", {"k8s-app": "kube-dns"}),
    _pod("operator", "10.244.7.1", naming.OPERATOR_NAMESPACE),
    Endpoint(name="node", address="192.168.0.10"),
    Endpoint(name="metadata", address="169.254.169.254"),
    Endpoint(name="internet", address="198.51.100.7"),
    Endpoint(name="broker-by-address", address="203.0.113.9"),
]

WITHIN = {
    "api -> postgres:5432/TCP",
    "mosquitto -> postgres:5432/TCP",
    "api -> mosquitto:1883/TCP",
    "mqtt-exporter -> mosquitto:1883/TCP",
    "dashboard -> api:3002/TCP",
}
DNS = {
    f"{name} -> dns:53/{protocol}"
    for name in ("api", "mosquitto", "dashboard", "mqtt-exporter")
    for protocol in ("UDP", "TCP")
}
METRICS = {
    "monitoring -> postgres:9187/TCP",
    "monitoring -> mqtt-exporter:9234/TCP",
    "monitoring -> api:3002/TCP",
}
WEB = {"ingress -> dashboard:8080/TCP", "ingress -> api:3002/TCP"}
SOLVING = {"ingress -> solver:8089/TCP"}
WEBSOCKET = {"ingress -> mosquitto:9001/TCP"}
BROKERLESS = {item for item in WITHIN | DNS | METRICS if "mosquitto" not in item and "mqtt-exporter" not in item}

# Everybody who has an address and is not bound by policies of their own.
ANYBODY = [item.name for item in OTHERS if not item.name.startswith("other-")]


def _from_anywhere(*targets: str) -> set[str]:
    return {f"{name} -> {target}/TCP" for name, target in product(ANYBODY, targets)}


def _external(host: str) -> Context:
    mqtt = {"exposure": "External", "external": {"host": host, "port": 1883}}
    return make_context(make_instance(mqtt=mqtt))


CASES: dict[str, tuple[Context, set[str]]] = {
    "SNI: devices come through the front door": (
        make_context(),
        WITHIN | DNS | METRICS | WEB | SOLVING | WEBSOCKET | {"router -> mosquitto:8883/TCP"},
    ),
    "SNI without a front door: devices come from anywhere, but only with TLS": (
        make_context(platform=make_platform(front_door=False)),
        WITHIN | DNS | METRICS | WEB | SOLVING | WEBSOCKET | _from_anywhere("mosquitto:8883"),
    ),
    "NodePort: devices come from anywhere, but only with TLS": (
        make_context(make_instance(mqtt={"exposure": "NodePort"})),
        WITHIN | DNS | METRICS | WEB | SOLVING | WEBSOCKET | _from_anywhere("mosquitto:8883"),
    ),
    "LoadBalancer: devices come from anywhere, but only with TLS": (
        make_context(make_instance(mqtt={"exposure": "LoadBalancer"})),
        WITHIN | DNS | METRICS | WEB | SOLVING | WEBSOCKET | _from_anywhere("mosquitto:8883"),
    ),
    "localhost: everything with a node port is open": (
        make_context(platform=make_platform(base_domain="localhost")),
        WITHIN
        | DNS
        | METRICS
        | _from_anywhere("mosquitto:8883", "mosquitto:1883", "mosquitto:9001", "api:3002", "dashboard:8080"),
    ),
    "External by address: the API reaches that address": (
        _external("203.0.113.9"),
        BROKERLESS | WEB | SOLVING | {"api -> broker-by-address:1883/TCP"},
    ),
    "External by name: the API reaches that port of anybody outside": (
        _external("broker.example.net"),
        BROKERLESS | WEB | SOLVING | {f"api -> {name}:1883/TCP" for name in ("internet", "broker-by-address")},
    ),
}


def _flows(context: Context, pairs: Iterable[tuple[Endpoint, Endpoint]], check: Callable[..., bool]) -> set[str]:
    """Return every flow between these pairs that the policies of two tenants let through."""
    other = make_context(make_instance("other", mqtt={"exposure": "SNI"}))
    policies = [*network.build(context), *network.build(other)]
    return {
        f"{source.name} -> {target.name}:{port}/{protocol}"
        for (source, target), (port, protocol) in product(pairs, PORTS)
        if source is not target and check(policies, source=source, target=target, port=port, protocol=protocol)
    }


def _allowed(context: Context) -> set[str]:
    """Return every flow from or to the instance's pods that is allowed."""
    return _flows(context, [*product(OURS, OURS + OTHERS), *product(OTHERS, OURS)], allows)


@pytest.mark.parametrize("name", CASES)
def test_exactly_the_listed_flows_are_allowed(name: str) -> None:
    context, expected = CASES[name]

    assert _allowed(context) == expected


def test_each_end_alone_allows_no_more_than_the_listed_flows() -> None:
    """One loose end would not show as long as the other is tight."""
    context, expected = CASES["SNI: devices come through the front door"]
    ours = {item.name for item in OURS}

    assert _flows(context, product(OURS + OTHERS, OURS), lets_in) == {
        flow for flow in expected if flow.split(" -> ")[1].split(":")[0] in ours
    }
    assert _flows(context, product(OURS, OURS + OTHERS), lets_out) == {
        flow for flow in expected if flow.split(" -> ")[0] in ours
    }


def reaches(address: str, **platform: Any) -> bool:
    """Tell whether the API with a broker given by name may connect to this address."""
    mqtt = {"exposure": "External", "external": {"host": "broker.example.net", "port": 1883}}
    context = make_context(make_instance(mqtt=mqtt), platform=make_platform(**platform))
    source = next(item for item in OURS if item.name == "api")
    return allows(network.build(context), source=source, target=Endpoint(name="target", address=address), port=1883)


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
def test_a_name_that_leads_inside_is_a_dead_end(address: str) -> None:
    assert not reaches(address)


@pytest.mark.parametrize("address", ALLOWED_ADDRESSES)
def test_a_name_that_leads_outside_is_reached(address: str) -> None:
    assert reaches(address)


def test_the_platform_says_which_addresses_are_its_own() -> None:
    narrow = {"cluster_ranges": ranges("10.244.0.0/16,203.0.113.0/24,2a00:1::/32")}

    assert reaches("10.1.0.1", **narrow)
    assert reaches("fd00::1", **narrow)
    assert not reaches("10.244.9.9", **narrow)
    assert not reaches("203.0.113.9", **narrow)
    assert not reaches("2a00:1::1", **narrow)
    assert not reaches("64:ff9b::cb00:7109", **narrow)
    assert not reaches("169.254.169.254", **narrow)


def test_a_platform_that_owns_all_addresses_lets_none_be_reached() -> None:
    """An empty list of peers would mean everybody."""
    everything = {"cluster_ranges": ranges("0.0.0.0/1,128.0.0.0/1,::/0")}

    assert not reaches("198.51.100.7", **everything)
    assert not reaches("2a00::1", **everything)
    assert reaches("2a00::1", cluster_ranges=ranges("0.0.0.0/0"))


def test_without_the_policies_everything_would_be_allowed() -> None:
    """The evaluator says no only because a policy does."""
    assert allows([], source=OTHERS[-1], target=OURS[0], port=5432)


def test_every_port_that_a_service_offers_is_reachable_for_somebody() -> None:
    context = make_context()
    reachable = {flow.split(" -> ")[1] for flow in _allowed(context)}
    containers = {
        (naming.component_of(item), port["name"]): port["containerPort"]
        for item in stack.objects(context)
        if item["kind"] in ("Deployment", "StatefulSet")
        for container in item["spec"]["template"]["spec"]["containers"]
        for port in container["ports"]
    }
    offered = {
        f"{naming.component_of(item)}:{containers[naming.component_of(item), port['targetPort']]}/TCP"
        for item in stack.objects(context)
        if item["kind"] == "Service"
        for port in item["spec"]["ports"]
    }

    assert offered <= reachable


def test_the_platform_says_which_pods_are_its_dns() -> None:
    def answering(**platform: Any) -> set[str]:
        flows = _allowed(make_context(platform=make_platform(**platform)))
        return {flow.split(" -> ")[1] for flow in flows if ":53/" in flow}

    assert answering() == {"dns:53/UDP", "dns:53/TCP"}
    assert answering(dns_pod_labels={"k8s-app": "metrics-server"}) == {"beside-dns:53/UDP", "beside-dns:53/TCP"}
    assert answering(dns_pod_labels={}) == {
        f"{name}:53/{protocol}" for name in ("dns", "beside-dns") for protocol in ("UDP", "TCP")
    }
    assert answering(dns_namespace="default") == {"not-dns:53/UDP", "not-dns:53/TCP"}


def test_a_platform_with_other_namespaces_gets_other_rules() -> None:
    names: dict[str, Any] = {
        "ingress_namespace": "traefik",
        "router_namespace": "front",
        "monitoring_namespace": "prometheus",
        "dns_namespace": "dns",
    }
    policies = network.build(make_context(platform=make_platform(**names)))

    text = str(policies)

    assert all(f"'kubernetes.io/metadata.name': '{name}'" in text for name in names.values())
    assert "'ingress'}" not in text
    assert "kube-system" not in text


@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize("name", [item["metadata"]["name"] for item in network.build(make_context())])
def test_a_rule_that_somebody_adds_to_a_policy_is_found(name: str, direction: str) -> None:
    """The empty rule allows everything; added to default-deny it would open all pods."""
    policy = next(item for item in network.build(make_context()) if item["metadata"]["name"] == name)
    rules = [*policy["spec"].get(direction, ()), {}]

    assert not drift.contains({**policy, "spec": {**policy["spec"], direction: rules}}, policy)
