"""Brokers of others: none within the platform, in whatever form it is written."""

from ipaddress import ip_address

import pytest

from customer_operator.errors import InstanceInvalid
from customer_operator.model.admission import check
from customer_operator.model.brokers import PRIVATE, ranges
from customer_operator.model.platform import Ranges
from tests.support.brokers import ALLOWED_ADDRESSES, FORBIDDEN_ADDRESSES
from tests.support.generate import make_instance, make_platform


def admit(host: str, cluster_ranges: Ranges = PRIVATE) -> None:
    mqtt = {"exposure": "External", "external": {"host": host}}
    check(make_instance(mqtt=mqtt), make_platform(cluster_ranges=cluster_ranges))


def refusal(host: str, cluster_ranges: Ranges = PRIVATE) -> str:
    with pytest.raises(InstanceInvalid) as caught:
        admit(host, cluster_ranges)
    assert caught.value.field == "spec.mqtt.external.host"
    return caught.value.message


@pytest.mark.parametrize("host", FORBIDDEN_ADDRESSES)
def test_an_address_within_the_platform_is_refused(host: str) -> None:
    assert "give the public name or address of a broker outside the platform" in refusal(host)
    assert "CLUSTER_RANGES" in refusal(ip_address(host).exploded)


@pytest.mark.parametrize("host", ALLOWED_ADDRESSES)
def test_an_address_outside_is_admitted(host: str) -> None:
    admit(host)


def test_the_platform_says_which_addresses_are_its_own() -> None:
    narrow = ranges("10.244.0.0/16, 2a00:1::/32")

    admit("10.1.0.1", narrow)
    for host in ("10.244.9.9", "2a00:1::1", "64:ff9b::10.244.9.9", "2002:af4:1::", "169.254.169.254", "127.0.0.1"):
        refusal(host, narrow)


@pytest.mark.parametrize(
    "host",
    [
        "mosquitto",
        "localhost",
        "LOCALHOST",
        "broker.localhost",
        "localhost.localdomain.local",
        "mosquitto.customer-other.svc",
        "mosquitto.customer-other.SVC",
        "mosquitto.customer-other.svc.cluster.local",
        "mosquitto.customer-other.svc.corp.example",
        "mosquitto.cluster.local",
        "kubernetes.default.svc",
        "metadata.google.internal",
        "printer.local",
        "router.home.arpa",
    ],
)
def test_a_name_that_can_only_be_inside_is_refused(host: str) -> None:
    assert "is a name within a cluster or network" in refusal(host)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0X7F.1",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "010.0.0.1",
        "127.0.0.1.",
        "1.2.3.4.5",
        "256.1.1.1",
        "mosquitto.customer-other",
    ],
)
def test_a_name_that_resolvers_read_as_an_address_is_refused(host: str) -> None:
    assert "is neither a public name nor an address as usually written" in refusal(host)


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        ("broker.example.net:1883", "give the port in spec.mqtt.external.port"),
        ("10.0.0.1:1883", "give the port in spec.mqtt.external.port"),
        ("broker..example.net", "is no DNS name"),
    ],
)
def test_what_is_no_host_is_refused(host: str, complaint: str) -> None:
    assert complaint in refusal(host)


@pytest.mark.parametrize(
    "host",
    ["broker.example.net", "Broker.Example.NET", "svc.example.net", "local.example.net", "mqtt.xn--p1ai", "a.b.c.io"],
)
def test_a_public_name_is_admitted(host: str) -> None:
    admit(host)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "pods", "10.0.0.0/8,,fc00::/7"])
def test_ranges_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be address ranges such as"):
        ranges(text)
