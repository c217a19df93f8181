"""Hostnames of customers' own: none of the platform's, and of several claims the oldest."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from customer_operator.errors import HostnameTaken, InstanceInvalid
from customer_operator.model import hostnames
from customer_operator.model.admission import check
from customer_operator.model.hostnames import Claim, holder
from tests.support.generate import make_instance, make_platform

# The platform's base domain is iot.example.com.
RESERVED = ("platform.example", "xn--bcher-kva.example")


def admit(hostname: str, **platform: str) -> None:
    check(make_instance(hostname=hostname), make_platform(reserved_hosts=RESERVED, **platform))


@pytest.mark.parametrize(
    "hostname",
    [
        "iot.example.com",
        "acme.iot.example.com",
        "mqtt.other.iot.example.com",
        "www.iot.example.com",
        "IOT.Example.COM",
        "acme.iot.example.com.",
        "platform.example",
        "billing.platform.example",
        "a.b.c.PLATFORM.example.",
        "bücher.example",
        "shop.BÜCHER.example",
        "xn--bcher-kva.example",
        "shop.XN--BCHER-KVA.example",
        "shop。platform。example",
    ],
)
def test_a_host_of_the_platform_is_refused(hostname: str) -> None:
    with pytest.raises(InstanceInvalid, match="belongs to the platform") as caught:
        admit(hostname)

    assert caught.value.field == "spec.hostname"
    assert "use a domain of your own" in caught.value.message


@pytest.mark.parametrize(
    "hostname",
    [
        "iot.acme.example",
        "example.com",
        "notiot.example.com",
        "iot.example.com.acme.example",
        "iot-example.com",
        "myplatform.example",
        "büchner.example",
    ],
)
def test_a_domain_of_the_customer_s_own_is_admitted(hostname: str) -> None:
    admit(hostname)


@pytest.mark.parametrize("hostname", ["other-web.example.net", "mqtt.x.example.net"])
def test_a_host_that_another_instance_s_could_be_is_refused_wherever_the_templates_put_it(hostname: str) -> None:
    templates = {"web_host_template": "{name}-web.example.net", "mqtt_host_template": "mqtt.{name}.example.net"}

    with pytest.raises(InstanceInvalid, match="belongs to the platform"):
        admit(hostname, **templates)
    admit("web.example.net", **templates)
    admit(f"x.{hostname}", **templates)


@pytest.mark.parametrize("reserved", ["grafana.iot.example.com", "mqtt.grafana.iot.example.com"])
def test_a_name_whose_hosts_are_the_platform_s_is_refused(reserved: str) -> None:
    platform = make_platform(reserved_hosts=(reserved,))

    with pytest.raises(InstanceInvalid, match="belongs to the platform") as caught:
        check(make_instance("grafana"), platform)
    assert caught.value.field == "metadata.name"
    check(make_instance("grafana-2"), platform)


@pytest.mark.parametrize("reserved", ["iot.example.com", "example.com", "platform.example"])
def test_what_is_reserved_around_all_instances_refuses_no_name(reserved: str) -> None:
    check(make_instance("grafana"), make_platform(reserved_hosts=(reserved,)))


@pytest.mark.parametrize("hostname", ["acme.localhost", "localhost"])
def test_a_platform_without_a_domain_keeps_localhost(hostname: str) -> None:
    with pytest.raises(InstanceInvalid, match="belongs to the platform"):
        admit(hostname, base_domain="localhost")


@pytest.mark.parametrize(
    "hostname", ["a..example", "-a.example", "a_b.example", "x" * 64 + ".example", "xn--a.example"]
)
def test_what_is_no_host_name_is_refused(hostname: str) -> None:
    with pytest.raises(InstanceInvalid, match="is no DNS name; give a host"):
        admit(hostname)


def test_names_are_compared_in_one_form() -> None:
    assert hostnames.canonical(" Shop.BÜCHER.Example. ") == hostnames.canonical("shop.xn--bcher-kva.example")


NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
OLDEST = Claim(waits=True, created_at=NOON, uid="b")
SAME_SECOND = Claim(waits=True, created_at=NOON, uid="c")
YOUNGEST = Claim(waits=True, created_at=NOON + timedelta(seconds=1), uid="a")


@pytest.mark.parametrize("claims", list(permutations([OLDEST, SAME_SECOND, YOUNGEST])))
def test_of_several_claims_the_oldest_keeps_the_host_whatever_the_order(claims: tuple[Claim, ...]) -> None:
    assert holder(claims) == OLDEST


def test_who_serves_the_host_keeps_it_though_an_older_instance_asks_for_it_now() -> None:
    serving = Claim(waits=False, created_at=NOON + timedelta(days=300), uid="d")

    assert holder([OLDEST, serving, YOUNGEST]) == serving


def test_when_the_holder_is_gone_the_next_follows() -> None:
    assert holder([YOUNGEST, SAME_SECOND]) == SAME_SECOND
    assert holder([YOUNGEST]) == YOUNGEST


def test_a_taken_host_is_refused_without_a_word_on_whose_it_is() -> None:
    error = HostnameTaken("iot.acme.example")

    assert (error.reason, error.field) == ("HostnameTaken", "spec.hostname")
    assert "iot.acme.example" in error.message
    assert "choose another" in error.message
