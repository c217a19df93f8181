"""The operator as a whole, put together as it runs, against an API server in this process."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from customer_operator import naming
from customer_operator.app import Operator
from customer_operator.errors import ClusterError, SettingInvalid
from customer_operator.kube import fence
from customer_operator.naming import Manifest
from customer_operator.settings import Settings
from mqtt_router.routes import DATA_KEY, SHARDS
from tests.support.generate import make_resource
from tests.support.kube_server import KubeServer, WatchableKube, kube_server
from tests.support.licenses import ISSUER, jwk, sign, write_jwks

NAMESPACE = "customer-acme"
ORDER = make_resource(mqtt={"exposure": "NodePort"})


@pytest.fixture
async def server() -> AsyncIterator[KubeServer]:
    async with kube_server() as server:
        yield server


@asynccontextmanager
async def running(
    server: KubeServer, folder: Path, identity: str = "one", *, keys: Path | None = None, front_door: bool = False
) -> AsyncIterator[Operator]:
    """Run a replica; it is told of instances as kopf would tell it (see `order`)."""
    settings = Settings(
        kubeconfig=server.kubeconfig(folder / "kubeconfig"),
        identity=identity,
        probe_host="127.0.0.1",
        probe_port=0,
        quota_wait=0.0,
        lease_duration=2,
        lease_renew_deadline=1.5,
        lease_retry_period=1.0,
        license_jwks_path=keys,
        license_issuer=ISSUER,
        front_door=front_door,
        route_probe=False,
    )
    operator = Operator(settings)
    try:
        await operator.start()
        yield operator
    finally:
        await operator.stop()


def order(server: KubeServer, *operators: Operator, resource: Manifest = ORDER) -> None:
    """Create an instance, and have the replicas told of it."""
    live = server.kube.put(resource)
    for operator in operators:
        operator.instance_event({"type": "ADDED", "object": live})


def built(kube: WatchableKube) -> Callable[[], bool]:
    """Return whether everything has been applied and said so."""
    return lambda: str(status(kube).get("message")).startswith("waiting for postgres")


def status(kube: WatchableKube) -> Manifest:
    live = kube.find(naming.KIND, "acme")
    return dict((live or {}).get("status") or {})


async def test_what_exists_before_the_start_is_built(server: KubeServer, tmp_path: Path) -> None:
    server.kube.put(ORDER)

    async with running(server, tmp_path) as operator:
        await server.kube.changes.until(built(server.kube), patience=20)
        assert operator.leads
        assert operator.problem() is None
    assert status(server.kube)["phase"] == "Provisioning"


async def test_an_order_is_built_and_drift_is_healed_by_the_leader_alone(server: KubeServer, tmp_path: Path) -> None:
    kube = server.kube
    async with running(server, tmp_path) as leader:
        await server.leases.until(lambda: leader.leads)
        async with running(server, tmp_path, "two") as standby:
            order(server, leader, standby)
            await kube.changes.until(built(kube), patience=20)
            spoilt = kube.find("Deployment", "api", namespace=NAMESPACE)
            assert spoilt is not None
            kube.put({**spoilt, "spec": {**spoilt["spec"], "replicas": 7}})
            await kube.changes.until(lambda: replicas(kube) == 1)
            assert not standby.leads
            assert standby.problem() is None
            assert (standby._queue.depth().total(), standby._queue.delayed()) == (0, 0), "it raises no alarm"

    assert {who.rpartition("(")[2] for who in server.writers} == {"one)"}


def replicas(kube: WatchableKube) -> int | None:
    live = kube.find("Deployment", "api", namespace=NAMESPACE)
    return live["spec"]["replicas"] if live else None


async def test_routes_are_published_by_the_leader_alone_and_make_their_instance_route_ready(
    server: KubeServer, tmp_path: Path
) -> None:
    kube, router = server.kube, "mqtt-router"
    kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": router}})
    async with (
        running(server, tmp_path, front_door=True) as leader,
        running(server, tmp_path, "two", front_door=True) as standby,
    ):
        await server.leases.until(lambda: leader.leads)
        order(server, leader, standby, resource=make_resource())
        await kube.changes.until(
            lambda: "urls" in status(kube) and kube.find("Service", "mqtt", namespace=NAMESPACE), patience=20
        )
        assert route_ready(kube) != "Unknown"
        service = kube.find("Service", "mqtt", namespace=NAMESPACE)
        assert service is not None
        kube.put({**service, "spec": {**service["spec"], "clusterIP": "10.96.0.7"}})
        # As kopf's watch would: of what the leader itself has written, too.
        order(server, leader, resource=kube.find(naming.KIND, "acme") or {})
        await kube.changes.until(lambda: route_ready(kube) == "Unknown", patience=20)

        assert published(kube, router) == {"mqtt.acme.iotistic.cloud 10.96.0.7:8883"}
        assert len(kube.all("ConfigMap")) == SHARDS
        order(server, standby, resource=kube.find(naming.KIND, "acme") or {})
        assert standby._routes.routes == 1, "it is ready to take over"
    assert {who.rpartition("(")[2] for who in server.writers} == {"one)"}


def published(kube: WatchableKube, namespace: str) -> set[str]:
    found = [item for item in kube.all("ConfigMap") if item["metadata"]["namespace"] == namespace]
    return {line for item in found for line in item["data"][DATA_KEY].splitlines()}


def route_ready(kube: WatchableKube) -> str | None:
    conditions = status(kube).get("conditions") or ()
    return next((item["status"] for item in conditions if item["type"] == "RouteReady"), None)


async def test_a_standby_takes_over_and_heals_what_was_spoilt_meanwhile(server: KubeServer, tmp_path: Path) -> None:
    kube = server.kube
    async with running(server, tmp_path, "two") as standby:
        server.leases.hold("one", duration=2)
        order(server, standby)
        assert not standby.leads
        server.leases.hold(None)
        await kube.changes.until(built(kube), patience=20)

    assert server.leases.holder != "two", "it gave the lead back when it was stopped"


async def test_an_instance_that_goes_unseen_is_not_built_again(server: KubeServer, tmp_path: Path) -> None:
    """kopf's watch lost its deletion; the list that it begins anew says nothing of it."""
    kube = server.kube
    kube.put({**ORDER, "metadata": {**ORDER["metadata"], "name": "other", "uid": "other"}})
    async with running(server, tmp_path) as operator:
        order(server, operator)
        await kube.changes.until(built(kube), patience=20)
        kube.remove(naming.KIND, "acme")
        other = kube.find(naming.KIND, "other")
        operator.instance_event({"type": None, "object": other})
        async with asyncio.timeout(20):
            while known(operator) != {"other"}:  # noqa: ASYNC110 - nothing outside tells of it
                await asyncio.sleep(0.02)


async def test_what_comes_in_while_the_lead_is_in_doubt_is_worked_on_when_it_is_not(
    server: KubeServer, tmp_path: Path
) -> None:
    """A machine wakes up: its fence has closed, what has piled up comes in at once, and then the lease is renewed."""
    async with running(server, tmp_path) as operator:
        await server.leases.until(lambda: operator.leads)
        order(server, operator)
        await server.kube.changes.until(built(server.kube), patience=20)
        operator._fence._clock = lambda: fence.now() + 3600
        assert not operator.leads
        other = server.kube.put({**ORDER, "metadata": {**ORDER["metadata"], "name": "other", "uid": "other"}})
        operator.instance_event({"type": "ADDED", "object": other})
        operator._fence._clock = fence.now
        await server.kube.changes.until(lambda: server.kube.find("Namespace", "customer-other"), patience=20)


async def test_a_leader_that_cannot_list_a_kind_says_which_and_is_not_restarted_for_it(
    server: KubeServer, tmp_path: Path
) -> None:
    server.kube.fail("list", ClusterError("no right to list", status=403), kind="Ingress", times=10**6)
    async with running(server, tmp_path) as operator:
        await server.leases.until(lambda: operator.leads)
        order(server, operator)
        async with asyncio.timeout(20):
            while operator.unread() != UNREAD:  # noqa: ASYNC110 - nothing outside tells of it
                await asyncio.sleep(0.02)
        assert operator.problem() is None
        server.kube.before = lambda call: None
        await server.kube.changes.until(built(server.kube), patience=20)
        assert operator.unread() is None


UNREAD = "not listed yet: Ingress; the log says why, if it cannot be"


async def test_a_leader_that_may_not_list_the_routes_publishes_none_and_does_all_else(
    server: KubeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customer_operator.app._ROUTES_PATIENCE", 0.5)
    server.kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mqtt-router"}})
    server.kube.fail("list", ClusterError("no right to list", status=403), kind="ConfigMap", times=10**6)
    async with running(server, tmp_path, front_door=True) as operator:
        order(server, operator)
        await server.kube.changes.until(built(server.kube), patience=20)
        assert operator.unread() == UNREAD.replace("Ingress", "ConfigMap")
        assert published(server.kube, "mqtt-router") == set()

        server.kube.before = lambda call: None
        await server.kube.changes.until(lambda: len(server.kube.all("ConfigMap")) == SHARDS, patience=20)


async def test_the_queue_of_a_leader_that_has_lost_the_lead_is_empty(server: KubeServer, tmp_path: Path) -> None:
    """It would only grow older, and raise the alarm of a queue that nobody works on."""
    async with running(server, tmp_path) as operator:
        order(server, operator)
        await server.kube.changes.until(built(server.kube), patience=20)
        server.leases.hold("another", duration=60)
        async with asyncio.timeout(20):
            while operator.leads or queued(operator):  # noqa: ASYNC110 - nothing outside tells of it
                await asyncio.sleep(0.02)


def queued(operator: Operator) -> int:
    queue = operator._queue
    return queue.in_flight() + queue.delayed() + sum(queue.depth().values())


def known(operator: Operator) -> set[str]:
    return set(operator._cache.names())


def test_before_its_start_an_operator_has_a_problem() -> None:
    assert Operator(Settings()).problem() == "ended: everything"


def test_keys_that_cannot_be_read_keep_the_operator_from_starting(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text("{}")
    with pytest.raises(SettingInvalid, match="LICENSE_JWKS_PATH"):
        Operator(Settings(license_jwks_path=path))
    Operator(Settings(license_jwks_path=write_jwks(path, jwk())))


async def test_a_license_whose_key_comes_later_is_valid_as_soon_as_the_key_is_there(
    server: KubeServer, tmp_path: Path
) -> None:
    path, kube = write_jwks(tmp_path / "jwks.json", jwk("k1")), server.kube
    async with running(server, tmp_path, keys=path) as operator:
        order(server, operator, resource=make_resource(license={"key": sign("k2")}))
        await kube.changes.until(lambda: license_state(kube) == "Invalid", patience=20)
        write_jwks(path, jwk("k1"), jwk("k2"))
        # The resync would come ten minutes later.
        await kube.changes.until(lambda: license_state(kube) == "Valid", patience=20)


def license_state(kube: WatchableKube) -> str | None:
    return dict(status(kube).get("license") or {}).get("state")


async def test_a_kubeconfig_that_is_not_there_keeps_the_operator_from_starting(tmp_path: Path) -> None:
    operator = Operator(Settings(kubeconfig=tmp_path / "mistyped"))
    with pytest.raises(SettingInvalid, match=r"^KUBECONFIG must name a kubeconfig that can be used; .*mistyped'$"):
        await operator.start()
    await operator.stop()


async def test_a_port_that_is_taken_keeps_the_operator_from_starting(server: KubeServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(
            kubeconfig=server.kubeconfig(tmp_path / "kubeconfig"),
            probe_host="127.0.0.1",
            probe_port=taken.getsockname()[1],
        )
        operator = Operator(settings)
        with pytest.raises(SettingInvalid, match=r"^PROBE_PORT must be free for us on PROBE_HOST '127\.0\.0\.1'; "):
            await operator.start()
        await operator.stop()
