"""The publisher: few writes, each over what it has seen, and everything compared when it begins."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from customer_operator.errors import ClusterError, ClusterUnreachable, LeadershipLost
from customer_operator.kube.client import KubeClient
from customer_operator.metrics import Metrics
from customer_operator.naming import Manifest
from customer_operator.routing.book import RouteBook
from customer_operator.routing.publisher import Publisher
from mqtt_router.routes import CONFIG_MAPS, DATA_KEY, PUBLISHED_AT_ANNOTATION, SHARDS, config_map, shard_of
from tests.support.clocks import idle_clock
from tests.support.fake_kube import Call, FakeKube
from tests.support.routes import ADDRESS, Scene, host_of
from tests.support.waiting import PATIENCE, eventually

NAMESPACE = "mqtt-router"
HOME: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
NOW = datetime(2026, 11, 27, 12, 0, 0, 5, tzinfo=UTC)
SHARD = shard_of(host_of("acme"))
NAME = config_map(SHARD)
INTERVAL = 0.2  # seconds


class FollowedKube(FakeKube):
    """An API server whose watch tells the books at once of what others write."""

    def __init__(self, *objects: Manifest) -> None:
        self.books: list[RouteBook] = []
        super().__init__(*objects)

    def put(self, manifest: Manifest) -> Manifest:
        live = super().put(manifest)
        for book in self.books if live["kind"] == "ConfigMap" else ():
            book.upsert(live)
        return live

    def remove(self, kind: str, name: str, *, namespace: str | None = None) -> None:
        live = self.find(kind, name, namespace=namespace)
        super().remove(kind, name, namespace=namespace)
        for book in self.books if live else ():
            version = str(next(self._versions))
            book.delete(
                {
                    **cast("Manifest", live),
                    "metadata": {**cast("Manifest", live)["metadata"], "resourceVersion": version},
                }
            )


@dataclass
class Bench:
    """A cluster, a scene in it, and publishers."""

    kube: FollowedKube = field(default_factory=lambda: FollowedKube(HOME))
    scene: Scene = field(default_factory=Scene)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.kube.books.append(self.scene.book)
        self.metrics = Metrics(self.registry)

    def publisher(
        self, book: RouteBook | None = None, *, metrics: Metrics | None = None, interval: float = INTERVAL
    ) -> Publisher:
        return Publisher(
            client=cast("KubeClient", self.kube),
            book=book or self.scene.book,
            metrics=metrics or self.metrics,
            namespace=NAMESPACE,
            interval=interval,
            now=lambda: NOW,
        )

    @asynccontextmanager
    async def publishing(self, *, interval: float = INTERVAL) -> AsyncIterator[None]:
        async with running(self.publisher(interval=interval)):
            await self.settled()
            self.kube.calls.clear()
            yield

    async def settled(self) -> None:
        """Wait until what is published is what the scene asks for."""
        await eventually(lambda: self.text_of_all() == [self.scene.book.text(shard) for shard in range(SHARDS)])

    def live(self, name: str = NAME) -> Manifest | None:
        return self.kube.find("ConfigMap", name, namespace=NAMESPACE)

    def text(self, name: str = NAME) -> str | None:
        return ((self.live(name) or {}).get("data") or {}).get(DATA_KEY)

    def text_of_all(self) -> list[str | None]:
        return [self.text(name) for name in CONFIG_MAPS]

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"customer_operator_{name}", labels) or 0.0


@asynccontextmanager
async def running(*publishers: Publisher) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(publisher.run()) for publisher in publishers]
    try:
        yield
    finally:
        assert not any(task.done() for task in tasks), "it goes on whatever happens"
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def verbs(calls: Iterable[Call], name: str = NAME) -> list[str]:
    return [call.verb for call in calls if call.name == name]


async def test_at_first_every_shard_is_created_the_empty_ones_too(bench: Bench) -> None:
    bench.scene.put()
    async with running(bench.publisher()):
        await bench.settled()

    assert [call.verb for call in bench.kube.calls] == ["create"] * SHARDS
    live = bench.live()
    assert live is not None
    assert live["data"] == {DATA_KEY: f"{host_of('acme')} {ADDRESS}:8883\n"}
    assert live["metadata"]["annotations"] == {PUBLISHED_AT_ANNOTATION: "2026-11-27T12:00:00.000005Z"}
    assert live["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "customer-operator",
        "iotistic.cloud/mqtt-routes": "true",
    }
    assert bench.value("route_writes_total", result="written") == SHARDS
    assert bench.value("routes") == 1


async def test_one_that_begins_where_all_is_right_writes_nothing(bench: Bench) -> None:
    bench.scene.put()
    async with bench.publishing():
        pass
    async with bench.publishing():
        await asyncio.sleep(2 * INTERVAL)
        assert bench.kube.calls == []


async def test_a_change_is_written_at_once_and_to_its_shard_alone(bench: Bench) -> None:
    async with bench.publishing():
        pass
    async with bench.publishing(interval=10 * PATIENCE):
        bench.scene.put()
        await bench.settled()
        assert [(call.verb, call.name) for call in bench.kube.calls] == [("replace", NAME)]


async def test_what_follows_a_write_waits_together(bench: Bench) -> None:
    async with bench.publishing(interval=10 * PATIENCE):
        for number in range(300):
            bench.scene.put(f"c{number}", address=f"10.96.{number // 250}.{number % 250 + 1}")
            await asyncio.sleep(0)
        await asyncio.sleep(INTERVAL)
        assert bench.kube.calls == [], "each has just been created"
        assert bench.value("route_shards_pending") == SHARDS


async def test_all_of_a_burst_is_in_few_writes(bench: Bench) -> None:
    began = asyncio.get_running_loop().time()
    async with bench.publishing():
        for number in range(300):
            bench.scene.put(f"c{number}", address=f"10.96.{number // 250}.{number % 250 + 1}")
            await asyncio.sleep(0)
        await bench.settled()
        counts = [len(verbs(bench.kube.calls, name)) for name in CONFIG_MAPS]

    assert max(counts) <= (asyncio.get_running_loop().time() - began) / INTERVAL + 1
    assert bench.value("routes") == 300


async def test_no_shard_is_written_twice_within_the_interval(bench: Bench) -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()
    bench.kube.before = lambda call: times.append(loop.time()) if (call.verb, call.name) == ("replace", NAME) else None
    async with bench.publishing():
        for number in range(60):
            bench.scene.put(address=f"10.96.1.{number + 1}")
            await asyncio.sleep(0.01)
        await bench.settled()

    assert len(times) > 2
    assert min(later - sooner for sooner, later in pairwise(times)) >= INTERVAL * 0.99


async def test_what_is_undone_before_it_is_written_is_not_written(bench: Bench) -> None:
    async with bench.publishing():
        bench.scene.put()
        await bench.settled()
        bench.kube.calls.clear()
        bench.scene.put(phase="Suspended")
        bench.scene.put()
        await asyncio.sleep(2 * INTERVAL)
        assert bench.kube.calls == []


@pytest.mark.parametrize(
    "edit",
    [
        {"data": {DATA_KEY: "evil.example 10.0.0.1:8883\n"}},
        {"data": {}},
        {"data": {DATA_KEY: "", "other": "x"}},
        {"binaryData": {"x": "AA=="}},
    ],
)
async def test_what_is_edited_by_hand_is_put_right(bench: Bench, edit: Manifest) -> None:
    bench.scene.put()
    async with bench.publishing():
        wanted = bench.live()
        assert wanted is not None
        bench.kube.put({**wanted, **edit})
        await eventually(
            lambda: (live := bench.live()) is not None and {**live, "metadata": 0} == {**wanted, "metadata": 0}
        )


async def test_what_is_deleted_is_created_again(bench: Bench) -> None:
    bench.scene.put()
    async with bench.publishing():
        bench.kube.remove("ConfigMap", NAME, namespace=NAMESPACE)
        await bench.settled()
        assert verbs(bench.kube.calls) == ["create"]


async def test_one_that_lost_its_label_unseen_gets_it_back(bench: Bench) -> None:
    """The watch says that it is gone, and it is there."""
    bench.scene.put()
    async with bench.publishing():
        live = bench.live()
        assert live is not None
        bench.kube.books.clear()
        bare = bench.kube.put({**live, "metadata": {**live["metadata"], "labels": {}}})
        bench.scene.book.delete(bare)
        await eventually(lambda: bool((bench.live() or {})["metadata"].get("labels")))
        assert verbs(bench.kube.calls) == ["create", "get", "replace"]


async def test_who_has_not_seen_the_last_version_does_not_overwrite_it(bench: Bench) -> None:
    """Two that write: the one whose view of the shard is old is refused, reads, and compares again."""
    bench.scene.put()
    async with bench.publishing():
        bench.kube.books.clear()  # its watch is late from here on
        live = bench.live()
        assert live is not None
        theirs = f"{host_of('acme')} 10.96.7.7:8883\n"
        bench.kube.put({**live, "data": {DATA_KEY: theirs}})
        seen: list[str | None] = []
        bench.kube.before = lambda call: seen.append(bench.text()) if call.verb == "replace" else None
        bench.scene.put(address="10.96.7.7")
        await eventually(lambda: bench.value("route_writes_total", result="conflict") == 1)
        await asyncio.sleep(3 * INTERVAL)

        assert bench.text() == theirs
        assert seen == [theirs], "having read it, it finds it right"


async def test_two_that_publish_the_same_cluster_come_to_rest(bench: Bench) -> None:
    other = Scene()
    bench.kube.books.append(other.book)
    second = bench.publisher(other.book, metrics=Metrics(CollectorRegistry()))
    for number in range(50):
        for scene in (bench.scene, other):
            scene.put(f"c{number}", address=f"10.96.0.{number + 1}")
    async with running(bench.publisher(), second):
        await bench.settled()
        for scene in (other, bench.scene):
            scene.put("c7", address="10.96.9.9")
            await asyncio.sleep(0.01)
        await bench.settled()
        await asyncio.sleep(2 * INTERVAL)
        bench.kube.calls.clear()
        await asyncio.sleep(3 * INTERVAL)
        assert bench.kube.calls == []


@pytest.mark.parametrize(
    "error",
    [
        ClusterUnreachable("away"),
        LeadershipLost("not ours"),
        ClusterError("quota", status=403),
        ValueError("a defect"),
    ],
)
async def test_a_shard_that_cannot_be_written_is_tried_again_and_stops_no_other(bench: Bench, error: Exception) -> None:
    bench.scene.put()
    bench.kube.fail("create", error, name=NAME)
    async with running(bench.publisher()):
        await eventually(lambda: sum(text is not None for text in bench.text_of_all()) >= SHARDS - 1)
        await bench.settled()

    assert verbs(bench.kube.calls) == ["create", "create"]
    assert bench.value("route_writes_total", result="error") == 1


async def test_failures_of_before_do_not_slow_down_what_fails_once_more(bench: Bench) -> None:
    """A write whose answer is lost was one; of what is found right then, nothing has failed."""
    async with bench.publishing(), idle_clock() as clock:
        for failures in range(1, 5):
            bench.kube.fail("replace", ClusterUnreachable("away"), name=NAME)
            bench.scene.put()
            await eventually(lambda failures=failures: bench.value("route_writes_total", result="error") == failures)  # type: ignore[misc]
            began = clock.seconds
            bench.scene.remove()
            await eventually(lambda: bench.value("route_shards_pending") == 0)

    assert clock.seconds - began < 3, "the first try after a failure comes after half a second, the fourth after four"


async def test_one_that_does_not_run_writes_nothing_and_has_nothing_pending(bench: Bench) -> None:
    bench.publisher()
    bench.scene.put()
    await asyncio.sleep(INTERVAL)

    assert bench.kube.calls == []
    assert bench.value("route_shards_pending") == 0


async def test_one_that_is_stopped_leaves_nothing_pending(bench: Bench) -> None:
    def refuse(call: Call) -> None:
        raise ClusterUnreachable("away")

    bench.kube.before = refuse
    async with running(bench.publisher()):
        await eventually(lambda: bench.value("route_writes_total", result="error") >= SHARDS)
        assert bench.value("route_shards_pending") > 0
    assert bench.value("route_shards_pending") == 0
