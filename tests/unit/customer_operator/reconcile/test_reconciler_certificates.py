"""The broker's certificate by cert-manager, pass by pass: what is asked for, when the broker goes over, and back."""

from typing import Any

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from customer_operator.observed import certificates
from tests.support.certificates import RATE_LIMIT, issued, refused, waiting
from tests.support.generate import make_platform
from tests.support.reconciling import World

PLATFORM = make_platform(mqtt_certificate_issuer="letsencrypt")
LATER: dict[str, Any] = {"since": "2027-01-20T12:00:00Z", "until": "2027-04-20T12:00:00Z"}


@pytest.fixture
def world() -> World:
    """A platform whose brokers get certificates, with cert-manager installed."""
    world = World(platform=PLATFORM)
    world.has_cert_manager = True
    return world


def say(world: World, **status: Any) -> None:
    """Write the status of the Certificate, as cert-manager does."""
    live = world.find("Certificate", "web-tls")
    assert live is not None
    world.kube.put({**live, "status": status})
    world.watch()


def broker(world: World) -> Manifest:
    live = world.find("StatefulSet", "mosquitto")
    assert live is not None
    return live


def secret_of(world: World) -> str:
    mounted = certificates.of(broker(world))
    return mounted.secret if mounted else "mosquitto-tls"


async def with_certificate(world: World) -> None:
    """Bring an instance up whose broker uses the issued certificate."""
    await world.bring_up()
    say(world, **issued())
    await world.until_steady()


async def test_the_broker_keeps_the_local_certificate_until_the_other_is_there(world: World) -> None:
    await world.bring_up()
    for status in ({}, waiting(), refused()):
        say(world, **status)
        await world.until_steady()
        assert secret_of(world) == "mosquitto-tls"
        assert world.condition("CertificateReady")[0] == "False"
        assert world.condition("MosquittoReady") == ("True", "Ready")

    say(world, **issued())
    await world.until_steady()

    assert secret_of(world) == "web-tls"
    assert world.condition("CertificateReady") == ("True", "Ready")
    assert world.status()["phase"] == "Ready"


async def test_what_cert_manager_says_is_in_the_status(world: World) -> None:
    await world.bring_up()
    say(world, **refused())
    await world.until_steady()

    stages = {stage["name"]: stage for stage in world.status()["stages"]}
    assert world.condition("CertificateReady") == ("False", "Stuck")
    assert RATE_LIMIT in stages["certificate"]["message"]
    assert RATE_LIMIT in world.status()["message"]


async def test_an_unchanged_certificate_writes_nothing(world: World) -> None:
    await with_certificate(world)

    say(world, **issued(revision=5))
    await world.reconcile()

    assert world.writes() == []


async def test_a_renewal_changes_the_broker_and_nothing_else(world: World) -> None:
    await with_certificate(world)

    say(world, **issued(**LATER))
    await world.reconcile()

    assert world.applied() == [("StatefulSet", "mosquitto")]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("status", [{}, waiting(), refused()], ids=["new", "waiting", "refused"])
async def test_a_valid_certificate_stays_in_use_whatever_becomes_of_its_certificate(
    world: World, status: dict[str, Any], restarted: bool
) -> None:
    await with_certificate(world)
    if restarted:
        world.start_operator()

    say(world, **status)
    await world.until_steady()

    assert secret_of(world) == "web-tls"


async def test_it_stays_in_use_when_cert_manager_is_gone(world: World) -> None:
    await with_certificate(world)

    world.has_cert_manager = False
    world.cache.prune("Certificate", uids=(), version=10**9)
    await world.until_steady()

    assert secret_of(world) == "web-tls"
    assert "CertificateReady" not in {item["type"] for item in world.status()["conditions"]}


async def test_it_is_given_up_at_its_end(world: World) -> None:
    await with_certificate(world)
    say(world, **refused(**issued()))
    world.later(days=91)
    await world.until_steady()

    assert secret_of(world) == "mosquitto-tls"


async def test_a_suspended_instance_does_not_wait_for_its_certificate(world: World) -> None:
    await world.bring_up(suspend=True)
    say(world, **refused())
    await world.until_steady()

    assert world.status()["phase"] == "Suspended"
    assert world.condition("CertificateReady")[0] == "True"


async def test_without_an_issuer_the_certificate_is_removed_though_nobody_watches(world: World) -> None:
    await with_certificate(world)
    world._platform, world.has_cert_manager = make_platform(), False
    world.start_operator()

    await world.until_steady()

    assert world.find("Certificate", "web-tls") is None
    assert secret_of(world) == "mosquitto-tls"
    assert certificates.requested(broker(world)) is None


async def test_without_an_issuer_what_somebody_else_has_made_of_the_ingress_stays(world: World) -> None:
    await with_certificate(world)
    live = world.find("Certificate", "web-tls")
    assert live is not None
    owner = {"kind": "Ingress", "name": "web", "uid": "uid-of-web", "controller": True}
    world.kube.put({**live, "metadata": {**live["metadata"], "ownerReferences": [owner]}})
    world._platform, world.has_cert_manager = make_platform(), False
    world.start_operator()

    await world.until_steady()

    assert world.find("Certificate", "web-tls") is not None


async def test_without_an_issuer_nothing_is_asked_about_certificates() -> None:
    world = World()
    world.order()
    await world.reconcile()

    assert "Certificate" not in {call.kind for call in world.kube.calls}


async def test_an_instance_that_does_not_need_one_has_no_such_condition(world: World) -> None:
    await world.bring_up(mqtt={"exposure": "External", "external": {"host": "broker.example.net"}})

    assert "CertificateReady" not in {item["type"] for item in world.status()["conditions"]}
    assert world.kube.find("Certificate", "web-tls", namespace=naming.namespace_of("acme")) is None
