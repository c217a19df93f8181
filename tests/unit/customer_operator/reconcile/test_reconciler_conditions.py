"""What a pass reports beyond success: hostnames, licenses, components that are stuck."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customer_operator import naming
from customer_operator.licensing.keys import KeySet
from tests.support.licenses import jwk, sign, write_jwks
from tests.support.pod_statuses import CRASHING
from tests.support.reconciling import GRACE, World, with_metadata

HOST = "iot.acme.example"


def aged(world: World, name: str, *, minute: int) -> None:
    """Have an instance be created at that minute."""
    world.kube.put(with_metadata(world.instance(name), creationTimestamp=f"2026-11-21T11:{minute:02}:00Z"))
    world.watch()


# -- hostnames -------------------------------------------------------------------------------------------------------


async def two_of_one_hostname(world: World) -> None:
    for name, minute in (("young", 30), ("old", 10)):
        world.order(name, hostname=HOST)
        aged(world, name, minute=minute)
    for name in ("young", "old"):
        await world.reconcile(name)


async def test_of_two_instances_with_one_hostname_the_older_has_it(world: World) -> None:
    await two_of_one_hostname(world)

    assert world.status("old")["phase"] == "Provisioning"
    assert world.status("young")["phase"] == "Failed"
    assert world.condition("Stalled", "young") == ("True", "HostnameTaken")
    assert world.status("young")["message"].startswith(f"spec.hostname: {HOST} is in use by another instance")
    assert "old" not in world.status("young")["message"], "whose it is, is nobody's business"
    assert world.namespace("young") is None


async def test_a_hostname_is_free_when_its_holder_is_gone(world: World) -> None:
    await two_of_one_hostname(world)
    world.kube.remove(naming.KIND, "old")
    world.watch()

    await world.reconcile("young", resync=True)
    assert world.status("young")["phase"] == "Provisioning"
    assert world.find("Ingress", "web", instance="young") is not None


async def test_a_hostname_is_free_when_its_holder_gives_it_up(world: World) -> None:
    await two_of_one_hostname(world)
    world.order("old")

    await world.reconcile("young", resync=True)
    assert world.status("young")["phase"] == "Provisioning"


async def test_an_instance_keeps_the_hostname_it_serves_though_an_older_one_asks_for_it_later(world: World) -> None:
    await world.bring_up("young", hostname=HOST)
    aged(world, "young", minute=30)
    world.order("old", hostname=HOST)
    aged(world, "old", minute=10)

    await world.reconcile("young", resync=True)
    assert world.condition("Stalled", "young") == ("False", "Ready")
    await world.reconcile("old")
    assert world.condition("Stalled", "old") == ("True", "HostnameTaken")


# -- licenses --------------------------------------------------------------------------------------------------------


@pytest.fixture
def licensed(tmp_path: Path) -> World:
    return World(keys=KeySet(write_jwks(tmp_path / "jwks.json", jwk())))


EXPIRY = datetime(2026, 12, 1, tzinfo=UTC)


def license_key() -> dict[str, str]:
    return {"key": sign(iat=0, nbf=0, exp=int(EXPIRY.timestamp()))}


async def test_a_license_that_cannot_be_trusted_builds_nothing_and_takes_nothing_away(licensed: World) -> None:
    licensed.order(license={"key": "no.jwt.atall"})
    assert (await licensed.reconcile()).result == "failed"
    assert licensed.condition("LicenseValid") == ("False", "LicenseInvalid")
    assert licensed.status()["license"] == {"state": "Invalid"}
    assert licensed.namespace() is None

    licensed.order(license=license_key())
    await licensed.until_steady()
    assert licensed.status()["phase"] == "Ready"
    licensed.order(license={"key": "no.jwt.atall"})
    await licensed.reconcile()
    assert licensed.status()["phase"] == "Failed"
    assert licensed.applied() == []
    assert all(live["spec"]["replicas"] for live in licensed.kube.all("Deployment"))


async def test_a_license_runs_out_by_way_of_grace_to_rest_and_a_renewed_one_brings_everything_back(
    licensed: World,
) -> None:
    await licensed.bring_up(license=license_key())
    assert licensed.status()["plan"] == "professional"
    outcome = await licensed.reconcile()
    assert (outcome.requeue_after, outcome.steady) == ((EXPIRY - licensed.now).total_seconds(), True)

    licensed.now = EXPIRY
    outcome = await licensed.reconcile()
    assert (licensed.status()["phase"], licensed.condition("LicenseValid")) == ("Ready", ("False", "InGrace"))
    assert outcome.requeue_after == GRACE.total_seconds()

    licensed.now = EXPIRY + GRACE
    await licensed.until_steady()
    assert licensed.status()["phase"] == "Suspended"
    assert all(live["spec"]["replicas"] == 0 for live in licensed.kube.all("StatefulSet"))
    assert licensed.find("Secret", naming.CREDENTIALS_SECRET) is not None

    renewed = sign(iat=0, nbf=0, exp=int((EXPIRY + timedelta(days=400)).timestamp()))
    licensed.order(license={"key": renewed})
    await licensed.until_steady()
    assert (licensed.status()["phase"], licensed.condition("LicenseValid")) == ("Ready", ("True", "Valid"))


async def test_a_suspended_instance_rests_and_comes_back(steady: World) -> None:
    steady.order(suspend=True)
    await steady.until_steady()
    assert steady.status()["phase"] == "Suspended"

    steady.order()
    await steady.until_steady()
    assert steady.status()["phase"] == "Ready"


# -- components that are stuck ---------------------------------------------------------------------------------------


async def test_a_database_that_does_not_come_up_is_stuck_after_its_deadline_and_says_why(world: World) -> None:
    world.order()
    for _ in range(2):
        await world.reconcile()
        world.settle()
    postgres = world.find("StatefulSet", "postgres")
    assert postgres is not None
    world.kube.put({**postgres, "status": {"observedGeneration": 1, "replicas": 1}})
    world.kube.put({**CRASHING, "metadata": {**CRASHING["metadata"], "labels": naming.labels("acme", "postgres")}})
    world.watch()
    outcome = await world.reconcile()
    assert (world.status()["phase"], outcome.requeue_after) == ("Provisioning", 10.0)

    world.later(seconds=10)
    await world.reconcile()
    assert "CrashLoopBackOff" in message(world, "PostgresReady")
    assert world.condition("PostgresReady") == ("False", "NotReady")
    world.later(seconds=600)
    await world.reconcile()
    assert world.condition("PostgresReady") == ("False", "Stuck")
    assert (world.status()["phase"], world.condition("Stalled")) == ("Failed", ("True", "ComponentStuck"))
    assert "no such table: users" in world.status()["message"]

    world.settle()
    await world.reconcile()
    assert world.status()["phase"] == "Ready"


def message(world: World, kind: str) -> str:
    return str(next(item["message"] for item in world.status()["conditions"] if item["type"] == kind))


# -- suspended, and refused ------------------------------------------------------------------------------------------


def running(world: World) -> dict[str, int]:
    return {item["metadata"]["name"]: item["spec"]["replicas"] for item in world.kube.all("Deployment")}


async def test_an_instance_that_is_refused_is_suspended_all_the_same(world: World) -> None:
    await world.bring_up()
    assert set(running(world).values()) == {1}
    world.order(hostname="www.iot.example.com", suspend=True)

    await world.reconcile()

    assert world.condition("Stalled") == ("True", "InvalidSpec")
    assert set(running(world).values()) == {0}
    world.order()
    await world.until_steady()
    assert set(running(world).values()) == {1}


async def test_a_refused_instance_that_is_not_to_be_suspended_goes_on(world: World) -> None:
    await world.bring_up()
    world.order(hostname="www.iot.example.com")

    await world.reconcile()

    assert world.condition("Stalled") == ("True", "InvalidSpec")
    assert set(running(world).values()) == {1}


async def test_a_license_that_cannot_be_trusted_is_no_way_around_a_suspension(licensed: World) -> None:
    await licensed.bring_up(license=license_key())
    licensed.order(license={"key": "nonsense.nonsense.nonsense"}, suspend=True)

    await licensed.reconcile()

    assert licensed.condition("Stalled") == ("True", "LicenseInvalid")
    assert set(running(licensed).values()) == {0}
