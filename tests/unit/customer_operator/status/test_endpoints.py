"""Where an instance answers, from its spec and the ports the API server has allocated."""

from typing import Any

import pytest

from customer_operator.components import stack
from customer_operator.observed.cache import CachedObject, Key
from customer_operator.observed.readiness import READY
from customer_operator.status import endpoints
from tests.support.generate import make_context, make_instance, make_platform

ALL_PORTS = {"dashboard": 30001, "api": 30002, "mqtt": 30003, "mqttTls": 30004, "mqttWebsocket": 30005}
LOCAL = make_platform(base_domain="localhost")
EXTERNAL = {"exposure": "External", "external": {"host": "broker.example.net"}}
WEB = {"dashboard": "https://acme.iot.example.com", "api": "https://acme.iot.example.com/api"}


def service(*node_ports: tuple[str, int]) -> CachedObject:
    return CachedObject(
        uid="u",
        version=1,
        applied_hash=None,
        content_hash="",
        verified_hash=None,
        readiness=READY,
        node_ports=node_ports,
    )


def test_node_ports_are_found_by_service_and_port_name() -> None:
    objects = {
        Key("Service", "dashboard"): service(("http", 30001)),
        Key("Service", "api"): service(("http", 30002)),
        Key("Service", "mqtt"): service(("mqtt", 30003), ("mqtts", 30004), ("websocket", 30005)),
        Key("Service", "postgres"): service(("postgres", 30006)),
    }

    assert endpoints.ports(objects) == ALL_PORTS


def test_ports_that_are_not_allocated_are_left_out() -> None:
    assert endpoints.ports({}) == {}
    assert endpoints.ports({Key("Service", "api"): service()}) == {}


def test_every_node_port_that_the_stack_asks_for_has_its_place_in_the_status() -> None:
    """The names of Services and ports are the components'; a renamed one must not vanish from status.ports."""
    asked_for = {
        Key("Service", item["metadata"]["name"]): service(
            *((port["name"], 30000 + number) for number, port in enumerate(item["spec"]["ports"]))
        )
        for item in stack.objects(make_context(platform=LOCAL))
        if item["kind"] == "Service" and item["spec"]["type"] == "NodePort"
    }

    assert len(endpoints.ports(asked_for)) == sum(len(known.node_ports) for known in asked_for.values()) == 5


@pytest.mark.parametrize(
    ("spec", "ports", "urls"),
    [
        ({}, {}, {**WEB, "mqtt": "mqtts://mqtt.acme.iot.example.com:8883"}),
        (
            {"mqtt": {"exposure": "LoadBalancer"}},
            {},
            {**WEB, "mqtt": "mqtts://mqtt.acme.iot.example.com:8883"},
        ),
        ({"mqtt": {"exposure": "NodePort"}}, {}, WEB),
        (
            {"mqtt": {"exposure": "NodePort"}},
            {"mqttTls": 30004},
            {**WEB, "mqtt": "mqtts://mqtt.acme.iot.example.com:30004"},
        ),
        ({"mqtt": EXTERNAL}, {}, {**WEB, "mqtt": "mqtts://broker.example.net:8883"}),
        (
            {"hostname": "iot.acme.example"},
            {},
            {
                "dashboard": "https://iot.acme.example",
                "api": "https://iot.acme.example/api",
                "mqtt": "mqtts://mqtt.acme.iot.example.com:8883",
            },
        ),
    ],
)
def test_under_a_domain_an_instance_answers_at_its_hosts(
    spec: dict[str, Any], ports: dict[str, int], urls: dict[str, str]
) -> None:
    assert endpoints.urls(make_instance(**spec), make_platform(), ports) == urls


@pytest.mark.parametrize(
    ("exposure", "ports", "url"),
    [
        ("SNI", {}, None),
        ("SNI", {"mqttTls": 30004}, "mqtts://mqtt.acme.iot.example.com:30004"),
        ("NodePort", {"mqttTls": 30004}, "mqtts://mqtt.acme.iot.example.com:30004"),
        ("LoadBalancer", {"mqttTls": 30004}, "mqtts://mqtt.acme.iot.example.com:8883"),
    ],
)
def test_without_a_front_door_devices_are_told_the_node_port(
    exposure: str, ports: dict[str, int], url: str | None
) -> None:
    instance = make_instance(mqtt={"exposure": exposure})

    assert endpoints.urls(instance, make_platform(front_door=False), ports).get("mqtt") == url


@pytest.mark.parametrize(
    ("spec", "ports", "urls"),
    [
        ({}, {}, {}),
        ({}, {"dashboard": 30001}, {"dashboard": "http://localhost:30001"}),
        (
            {},
            ALL_PORTS,
            {
                "dashboard": "http://localhost:30001",
                "api": "http://localhost:30002",
                "mqtt": "mqtt://localhost:30003",
            },
        ),
        ({"hostname": "iot.acme.example"}, {"api": 30002}, {"api": "http://localhost:30002"}),
        ({"mqtt": EXTERNAL}, {}, {"mqtt": "mqtts://broker.example.net:8883"}),
    ],
)
def test_on_localhost_an_instance_answers_at_its_node_ports(
    spec: dict[str, Any], ports: dict[str, int], urls: dict[str, str]
) -> None:
    assert endpoints.urls(make_instance(**spec), LOCAL, ports) == urls


@pytest.mark.parametrize(
    ("external", "url"),
    [
        ({"host": "broker.example.net", "port": 1883, "tls": False}, "mqtt://broker.example.net:1883"),
        ({"host": "192.0.2.1"}, "mqtts://192.0.2.1:8883"),
        ({"host": "2001:db8::1"}, "mqtts://[2001:db8::1]:8883"),
    ],
)
def test_an_external_broker_answers_where_its_owner_says(external: dict[str, Any], url: str) -> None:
    instance = make_instance(mqtt={"exposure": "External", "external": external})

    assert endpoints.urls(instance, make_platform(), {})["mqtt"] == url


def test_the_platform_may_name_hosts_otherwise() -> None:
    platform = make_platform(
        web_host_template="app-{name}.{base_domain}", mqtt_host_template="{name}-mqtt.{base_domain}"
    )

    urls = endpoints.urls(make_instance(), platform, {})

    assert urls["dashboard"] == "https://app-acme.iot.example.com"
    assert urls["mqtt"] == "mqtts://acme-mqtt.iot.example.com:8883"
