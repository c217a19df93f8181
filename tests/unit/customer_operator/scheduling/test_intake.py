"""What the watches bring: into the cache always, into the queue only of the replica that leads."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from customer_operator import naming
from customer_operator.metrics import Metrics
from customer_operator.naming import Manifest
from customer_operator.observed.cache import Key, ObjectCache
from customer_operator.routing.book import RouteBook
from customer_operator.scheduling.intake import Intake, instance_of
from customer_operator.scheduling.queue import Priority, WorkQueue
from customer_operator.scheduling.workers import Workers
from tests.support.generate import make_platform
from tests.support.observed import instance, live, live_namespace
from tests.support.queues import Clock, take
from tests.support.routes import broker_service, routed


class Bench:
    """An intake with a queue whose time stands still unless a test moves it."""

    def __init__(self, *, leads: bool = True) -> None:
        self.leads = leads
        self.clock = Clock()
        self.cache = ObjectCache()
        self.queue = WorkQueue(clock=self.clock)
        workers = Workers(
            queue=self.queue,
            cache=self.cache,
            metrics=Metrics(CollectorRegistry()),
            concurrency=1,
            resync=600,
            clock=self.clock,
        )
        self.routes = RouteBook(cache=self.cache, platform=make_platform())
        self.intake = Intake(cache=self.cache, routes=self.routes, workers=workers, works=lambda: self.leads)

    async def queued(self, *, after: float = 0.0) -> dict[str, Priority]:
        """Take all that is due after so many seconds."""
        self.clock.now += after
        found = {}
        while (item := await take(self.queue)) is not None:
            found[item.name] = item.priority
            self.queue.done(item.name)
        return found


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def standby() -> Bench:
    return Bench(leads=False)


def stock(bench: Bench) -> None:
    """Bring an instance with a namespace and a Service."""
    for item in (instance(1, plan="starter", hostname="iot.example"), live_namespace(2), live(3)):
        bench.intake.upsert(item)


# -- whose an object is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"name": "api", "namespace": "customer-acme", "labels": {naming.INSTANCE_LABEL: "acme"}}, "acme"),
        ({"name": "api", "namespace": "customer-bravo", "labels": {naming.INSTANCE_LABEL: "acme"}}, None),
        ({"name": "api", "namespace": "default", "labels": {naming.INSTANCE_LABEL: "acme"}}, None),
        ({"name": "api", "namespace": "customer-acme", "labels": {}}, None),
        ({"name": "api", "namespace": "customer-acme"}, None),
        ({"name": "api", "labels": {naming.INSTANCE_LABEL: "acme"}}, None),
    ],
)
def test_an_object_is_an_instances_by_its_label_and_its_place(metadata: dict[str, Any], name: str | None) -> None:
    """Whoever may label an object in a namespace of his own must not have a stranger reconciled."""
    assert instance_of({"kind": "Service", "metadata": metadata}) == name


@pytest.mark.parametrize(("name", "owner"), [("customer-acme", "acme"), ("customer-bravo", None), ("acme", None)])
def test_a_namespace_is_an_instances_by_its_label_and_its_name(name: str, owner: str | None) -> None:
    live = {"kind": "Namespace", "metadata": {"name": name, "labels": {naming.INSTANCE_LABEL: "acme"}}}

    assert instance_of(live) == owner


# -- into the queue --------------------------------------------------------------------------------------------------


async def test_a_new_instance_is_queued_in_its_class(bench: Bench) -> None:
    bench.intake.upsert(instance(1, plan="enterprise"))

    assert await bench.queued() == {"acme": Priority.ENTERPRISE}


async def test_an_event_that_is_known_or_late_queues_nothing(bench: Bench) -> None:
    bench.intake.upsert(instance(5))
    await bench.queued()

    bench.intake.upsert(instance(5))
    bench.intake.upsert(instance(4))
    bench.intake.delete(instance(6, uid="a predecessor"))

    assert await bench.queued(after=10) == {}
    assert bench.cache.instance("acme") is not None


async def test_a_change_of_an_object_is_looked_at_a_moment_later(bench: Bench) -> None:
    stock(bench)
    await bench.queued(after=1)

    bench.intake.upsert(live(4, spec={"ports": []}))
    assert await bench.queued() == {}
    assert await bench.queued(after=0.25) == {"acme": Priority.STARTER}
    bench.intake.upsert(live(5, spec={"ports": []}, status={"loadBalancer": {}}))
    assert await bench.queued(after=1) == {}, "nothing a pass would see"
    bench.intake.delete(live(6))
    assert await bench.queued(after=0.25) == {"acme": Priority.STARTER}


async def test_an_object_of_nobody_is_neither_remembered_nor_queued(bench: Bench) -> None:
    stock(bench)
    await bench.queued(after=1)
    stray = live(9)
    stray["metadata"]["namespace"] = "default"

    bench.intake.upsert(stray)
    bench.intake.delete(stray)

    assert await bench.queued(after=1) == {}
    assert Key("Service", "api") in bench.cache.objects("acme")


async def test_an_instance_that_is_gone_is_queued_first_to_be_forgotten(bench: Bench) -> None:
    bench.intake.upsert(instance(1))
    await bench.queued()
    bench.intake.delete(instance(2))

    assert await bench.queued() == {"acme": Priority.DELETE}


# -- lists -----------------------------------------------------------------------------------------------------------


async def test_ghosts_among_instances_are_queued_to_be_forgotten(bench: Bench) -> None:
    for name in ("acme", "bravo"):
        bench.intake.upsert(instance(1, name=name, uid=name))
    await bench.queued()

    bench.intake.prune(naming.KIND, uids={"bravo"}, version=5)

    assert await bench.queued() == {"acme": Priority.DELETE}
    assert tuple(bench.cache.names()) == ("bravo",)


async def test_instances_with_ghosts_among_their_objects_are_looked_at(bench: Bench) -> None:
    stock(bench)
    bench.intake.upsert(instance(1, name="bravo", uid="b"))
    await bench.queued(after=1)

    bench.intake.prune("Service", uids=(), version=5)

    assert await bench.queued(after=1) == {"acme": Priority.STARTER}
    assert Key("Service", "api") not in bench.cache.objects("acme")


# -- hostnames -------------------------------------------------------------------------------------------------------


def give_up(bench: Bench) -> None:
    bench.intake.upsert(instance(9, plan="starter"))


def go(bench: Bench) -> None:
    bench.intake.delete(instance(9))


def go_unseen(bench: Bench) -> None:
    bench.intake.prune(naming.KIND, uids={"w", "o"}, version=9)


@pytest.mark.parametrize("end", [give_up, go, go_unseen])
async def test_who_waits_for_a_hostname_is_compared_again_when_it_is_free(bench: Bench, end: Any) -> None:
    stock(bench)
    bench.intake.upsert(instance(1, name="waiting", uid="w", hostname="iot.example"))
    bench.intake.upsert(instance(1, name="other", uid="o", hostname="other.example"))
    await bench.queued(after=1)

    end(bench)

    queued = await bench.queued()
    assert queued.pop("acme") in (Priority.STARTER, Priority.DELETE)
    assert queued == {"waiting": Priority.RESYNC}


async def test_who_waits_for_a_hostname_is_told_also_when_a_pass_has_found_the_other_gone_before(bench: Bench) -> None:
    bench.intake.upsert(instance(1, hostname="iot.example"))
    bench.intake.upsert(instance(1, name="waiting", uid="w", hostname="iot.example"))
    await bench.queued(after=1)

    bench.cache.delete_instance("acme", uid="u")
    bench.intake.delete(instance(9, hostname="iot.example"))

    assert await bench.queued() == {"waiting": Priority.RESYNC}


# -- a standby -------------------------------------------------------------------------------------------------------


async def test_the_queue_of_a_standby_stays_empty_and_its_cache_true(standby: Bench) -> None:
    stock(standby)
    standby.intake.upsert(instance(1, name="ghost", uid="g", hostname="iot.example"))
    standby.intake.upsert(live(8, spec={"ports": []}))
    assert len(standby.cache.objects("acme")) == 2
    standby.intake.prune(naming.KIND, uids={"u"}, version=9)
    standby.intake.prune("Namespace", uids=(), version=2)
    standby.intake.delete(live(9))
    standby.intake.delete(instance(10))

    standby.leads = True
    assert await standby.queued(after=3600) == {}
    assert standby.cache.objects("acme") == {}
    assert tuple(standby.cache.names()) == ()


# -- license keys ----------------------------------------------------------------------------------------------------


def refused(version: int = 1) -> Manifest:
    return {**instance(version, plan="starter"), "status": {"license": {"state": "Invalid"}}}


async def test_when_the_license_keys_change_only_who_leads_tries_again(bench: Bench, standby: Bench) -> None:
    for each in (bench, standby):
        each.intake.upsert(refused())
        await each.queued(after=1)
        each.intake.keys_changed()

    assert await bench.queued() == {"acme": Priority.STARTER}
    assert await standby.queued() == {}


async def test_when_cert_manager_comes_or_goes_all_instances_are_looked_at(bench: Bench, standby: Bench) -> None:
    for each in (bench, standby):
        each.intake.upsert(instance(1, plan="starter"))
        await each.queued(after=1)
        each.intake.certificates_changed()

    assert await bench.queued(after=1) == {"acme": Priority.STARTER}
    assert await standby.queued(after=1) == {}


def test_a_route_follows_the_instance_and_its_service(bench: Bench) -> None:
    bench.intake.upsert(routed(version=1))
    assert bench.routes.routes == 0
    bench.intake.upsert(broker_service(version=2))
    assert bench.routes.routes == 1

    bench.intake.delete(broker_service(version=3))
    assert bench.routes.routes == 0
    bench.intake.upsert(broker_service(version=4))
    bench.intake.delete(routed(version=5))
    assert bench.routes.routes == 0


def test_a_route_follows_our_own_writes_which_are_no_news_when_they_come(bench: Bench) -> None:
    bench.intake.upsert(broker_service(version=1))
    bench.cache.upsert_instance(routed(version=2))
    bench.cache.record("acme", broker_service(address="10.96.0.8", version=3), verified=True)

    bench.intake.upsert(routed(version=2))
    assert bench.routes.routes == 1
    bench.cache.record("acme", broker_service(address="10.96.0.9", version=4), verified=True)
    bench.intake.upsert(broker_service(address="10.96.0.9", version=4))

    assert any("10.96.0.9" in bench.routes.text(shard) for shard in range(16))


@pytest.mark.parametrize("kind", [naming.KIND, "Service"])
def test_a_route_of_what_a_list_does_not_hold_is_withdrawn(bench: Bench, kind: str) -> None:
    bench.intake.upsert(routed(version=1))
    bench.intake.upsert(broker_service(version=2))

    bench.intake.prune(kind, uids=[], version=9)

    assert bench.routes.routes == 0
