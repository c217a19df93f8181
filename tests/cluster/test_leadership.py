"""Replicas that hand over, die, stand still or are cut off: never does one write when another has begun to."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest
import yaml

from customer_operator import naming
from customer_operator.kube import leader
from hack.cluster import LocalCluster
from tests.support.audit import AuditLog, Request
from tests.support.kubernetes import Kubernetes, Refused, is_there
from tests.support.network import Link
from tests.support.operators import SHORT_LEASE, OperatorProcess, Operators
from tests.support.tenants import Tenants

# Seconds: the lease runs out, the next try is due (with its jitter), and time to make it on a busy machine.
FAIL_OVER = 5 + 1.2 * 1 + 20

PACE = 0.03  # seconds between two pieces of work
MANY = 20  # writes
SERVICES = ("api", "dashboard", "mosquitto", "postgres")


@dataclass
class Replica:
    """A replica and its own way to the API server."""

    process: OperatorProcess
    link: Link

    def wrote(self, log: AuditLog) -> list[Request]:
        """Return its writes as the API server received them; those to the Lease are not work."""
        mine = self.requests(log)
        return [item for item in mine if item.writes and item.resource != "leases"]

    def requests(self, log: AuditLog) -> list[Request]:
        """Return all its requests, known by the identity in its User-Agent; those of kopf's watch do not carry it."""
        return [item for item in log.requests() if item.agent.endswith(f" ({self.process.identity})")]

    def wait_until_it_leads_and_writes(self, api: Kubernetes, log: AuditLog) -> None:
        lease = {"namespace": naming.OPERATOR_NAMESPACE, "timeout": FAIL_OVER}
        api.wait_for("Lease", leader.LEASE_NAME, self.process.holds, **lease)  # type: ignore[arg-type]
        log.wait_until(lambda _: len(self.wrote(log)) >= MANY)

    def wait_until_heard(self, log: AuditLog) -> None:
        """Wait until it has stood for election again, having seen that it has lost."""
        log.wait_until(
            lambda _: [item.verb for item in self.requests(log) if item.resource == "leases"][-2:] == ["get"] * 2
        )


@pytest.fixture(scope="module")
def pair(
    cluster: LocalCluster, operators: Operators, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Replica, Replica]]:
    """Two replicas, each with a way to the API server that can be cut."""
    operators.stop()
    server = urlsplit(cluster.server)
    with (
        Link((str(server.hostname), int(server.port or 0))) as first,
        Link((str(server.hostname), int(server.port or 0))) as second,
    ):
        replicas = []
        for name, link, start in (("first", first, operators.start), ("second", second, operators.stand_by)):
            path = tmp_path_factory.mktemp(name) / "kubeconfig"
            config = yaml.safe_load(operator_kubeconfig.read_text())
            config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{link.port}"
            path.touch(mode=0o600)
            path.write_text(yaml.safe_dump(config))
            replicas.append(Replica(start(name, KUBECONFIG=str(path), IDENTITY=f"pod-{name}", **SHORT_LEASE), link))
        yield replicas[0], replicas[1]
        first.restore()
        second.restore()
        operators.stop()


@pytest.fixture(scope="module")
def names(pair: tuple[Replica, Replica], tenants: Tenants) -> list[str]:
    """Instances to work on."""
    ordered = [tenants.order() for _ in range(5)]
    return [tenants.ready(name) for name in ordered]


@contextmanager
def unrest(api: Kubernetes, names: list[str]) -> Iterator[None]:
    """Delete Services all the time, so that whoever leads always has something to restore."""
    calm = Event()

    def disturb() -> None:
        while not calm.is_set():
            for service in SERVICES:
                for name in names:
                    with suppress(Refused):
                        api.delete("Service", service, namespace=naming.namespace_of(name))
                    calm.wait(PACE)

    thread = Thread(target=disturb)
    thread.start()
    try:
        yield
    finally:
        calm.set()
        thread.join()


def overlap(log: AuditLog, former: Replica, latter: Replica) -> list[Request]:
    """Return what the API server received of the former leader after the first write of the latter."""
    first = min(item.time for item in latter.wrote(log))
    return [item for item in former.wrote(log) if item.time >= first]


@pytest.mark.parametrize("cut_off", [0, 1], ids=["first", "second"])
def test_a_leader_that_is_cut_off_writes_nothing_after_its_successor_has_begun_to(
    api: Kubernetes, audit: AuditLog, pair: tuple[Replica, Replica], names: list[str], cut_off: int
) -> None:
    """Nor when the network delivers again: what it held up is no longer sent."""
    former, latter = pair[cut_off], pair[1 - cut_off]
    log = audit.from_now_on()
    with unrest(api, names):
        log.wait_until(lambda _: len(former.wrote(log)) >= MANY)
        former.link.cut()
        latter.wait_until_it_leads_and_writes(api, log)
        healed = audit.from_now_on()
        former.link.restore()
        former.wait_until_heard(healed)
        healed.wait_until(lambda _: len(latter.wrote(healed)) >= MANY)
    assert overlap(log, former, latter) == []
    assert former.link.abandoned > 0  # connections with requests in flight were really reset


def test_a_leader_that_stands_still_writes_nothing_when_it_goes_on_and_another_has_begun_to(
    api: Kubernetes, audit: AuditLog, pair: tuple[Replica, Replica], names: list[str]
) -> None:
    former, latter = pair
    log = audit.from_now_on()
    with unrest(api, names):
        log.wait_until(lambda _: len(former.wrote(log)) >= MANY)
        former.process.pause()
        latter.wait_until_it_leads_and_writes(api, log)
        resumed = audit.from_now_on()
        former.process.resume()
        former.wait_until_heard(resumed)
        resumed.wait_until(lambda _: len(latter.wrote(resumed)) >= MANY)
    # A process can be stopped between its last look at the fence and its send, whatever it does. What it sends then is
    # cut off as soon as it goes on, and the API server ends it: what counts is that nothing was carried out.
    assert [late for late in overlap(log, former, latter) if late.code < HTTPStatus.BAD_REQUEST] == []


def test_of_two_replicas_one_works_and_the_other_takes_over_when_it_is_lost(
    api: Kubernetes, operators: Operators, tenants: Tenants
) -> None:
    operators.stop()
    first = operators.start("first", **SHORT_LEASE)
    second = operators.stand_by("second", **SHORT_LEASE)
    name = tenants.order()
    namespace = naming.namespace_of(name)
    secret = api.wait_for("Secret", naming.CREDENTIALS_SECRET, is_there, namespace=namespace)
    assert first.metric("customer_operator_api_requests_total", verb="PATCH") > 0
    for verb in ("POST", "PUT", "PATCH", "DELETE"):
        assert second.metric("customer_operator_api_requests_total", verb=verb) == 0
    first.kill()
    api.wait_for("Lease", leader.LEASE_NAME, second.holds, namespace=naming.OPERATOR_NAMESPACE, timeout=FAIL_OVER)
    tenants.ready(name)
    assert api.get("Secret", naming.CREDENTIALS_SECRET, namespace=namespace)["data"] == secret["data"]


def test_a_replica_that_is_asked_to_end_hands_over_at_once(
    api: Kubernetes, operators: Operators, operator: OperatorProcess, tenants: Tenants
) -> None:
    name = tenants.ready()
    # One that waited for the lease to run out would wait for ten minutes.
    long = {"LEASE_DURATION": "600", "LEASE_RENEW_DEADLINE": "500", "LEASE_RETRY_PERIOD": "1"}
    successor = operators.stand_by("successor", **long)
    operator.terminate()
    successor.wait_until_leads(api)
    namespace = naming.namespace_of(name)
    api.delete("Service", "api", namespace=namespace)
    api.wait_for("Service", "api", is_there, namespace=namespace)
