"""The publisher itself at the real API server, under the operator's rights: rivals, and two thousand routes."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from customer_operator.kube.client import KubeClient, connect
from customer_operator.kube.fence import Fence
from customer_operator.kube.reflector import Reflector
from customer_operator.metrics import Metrics
from customer_operator.routing.publisher import Publisher
from hack.tasks import running
from mqtt_router.routes import CONFIG_MAPS, SELECTOR, SHARDS, config_map, shard_of
from tests.support.kubernetes import Kubernetes
from tests.support.operators import Operators
from tests.support.published import NAMESPACE, Routes
from tests.support.routes import ADDRESS, Scene, host_of
from tests.support.waiting import eventually

MANY = 2_000
INTERVAL = 0.2  # seconds


@pytest.fixture(scope="module", autouse=True)
def _alone(operators: Operators, api: Kubernetes) -> Iterator[None]:
    """No operator publishes beside, and what is left over is put right by the next that does."""
    operators.stop()
    yield
    for name in CONFIG_MAPS:
        if api.find("ConfigMap", name, namespace=NAMESPACE):
            api.delete("ConfigMap", name, namespace=NAMESPACE)


@pytest.fixture
async def client(operator_kubeconfig: Path) -> AsyncIterator[KubeClient]:
    metrics, fence = Metrics(CollectorRegistry()), Fence.always_open()
    async with connect(kubeconfig=operator_kubeconfig, metrics=metrics, fence=fence, identity="publisher") as client:
        yield client


class Replica:
    """A publisher with a view of its own of instances and ConfigMaps."""

    def __init__(self, client: KubeClient) -> None:
        self.scene = Scene()
        self.registry = CollectorRegistry()
        self._reflector = Reflector(client, "ConfigMap", selector=SELECTOR, namespace=NAMESPACE, mirror=self.scene.book)
        self._publisher = Publisher(
            client=client,
            book=self.scene.book,
            metrics=Metrics(self.registry),
            namespace=NAMESPACE,
            interval=INTERVAL,
            now=lambda: datetime.now(UTC),
        )

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        async with running(self._reflector.run()):
            await self._reflector.synced.wait()
            yield

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        async with running(self._publisher.run()):
            yield

    @property
    def is_done(self) -> bool:
        """Whether all that it asks for is published, as far as it knows."""
        book = self.scene.book
        return all((live := book.live(shard)) is not None and live.text == book.text(shard) for shard in range(SHARDS))

    def writes(self, result: str) -> float:
        """Return how many of its writes ended so."""
        return self.registry.get_sample_value("customer_operator_route_writes_total", {"result": result}) or 0


async def test_nobody_writes_over_what_another_has_written_unseen(client: KubeClient, api: Kubernetes) -> None:
    """No fence is in the way here: what is left is the version of what each has seen."""
    former, latter = Replica(client), Replica(client)
    for replica in (former, latter):
        replica.scene.put()
    async with former.watching(), former.publishing():
        await eventually(lambda: former.is_done)
    # From here on the former sees nothing more, as after a partition; the latter goes on.
    async with latter.watching(), latter.publishing():
        latter.scene.put(address="10.96.7.7")
        await eventually(lambda: latter.is_done)
    assert Routes(api).all() == {host_of("acme"): "10.96.7.7:8883"}

    former.scene.put("stale", address="10.96.6.6")
    former.scene.put(address="10.96.6.6")
    conflicts = api.get("ConfigMap", config_map(shard_of(host_of("acme"))), namespace=NAMESPACE)
    async with former.publishing():
        await eventually(lambda: former.writes("conflict") >= 1)
        unchanged = api.get("ConfigMap", config_map(shard_of(host_of("acme"))), namespace=NAMESPACE)
    assert unchanged["metadata"]["resourceVersion"] == conflicts["metadata"]["resourceVersion"]


async def test_two_that_start_with_nothing_create_each_shard_once(client: KubeClient, api: Kubernetes) -> None:
    for name in CONFIG_MAPS:
        if api.find("ConfigMap", name, namespace=NAMESPACE):
            api.delete("ConfigMap", name, namespace=NAMESPACE)
    one, other = Replica(client), Replica(client)
    for replica in (one, other):
        replica.scene.put()
    async with one.watching(), other.watching(), one.publishing(), other.publishing():
        await eventually(lambda: one.is_done and other.is_done)

    assert one.writes("written") + other.writes("written") == SHARDS
    assert one.writes("error") + other.writes("error") == 0
    assert Routes(api).all() == {host_of("acme"): f"{ADDRESS}:8883"}


async def test_two_thousand_routes_are_rendered_and_published_while_nobody_waits_long(
    client: KubeClient, api: Kubernetes
) -> None:
    replica = Replica(client)
    async with replica.watching(), replica.publishing():
        await eventually(lambda: replica.is_done)
        before, began = replica.writes("written"), time.perf_counter()
        for number in range(MANY):
            replica.scene.put(f"c{number}", address=f"10.96.{number // 250}.{number % 250 + 1}")
            await asyncio.sleep(0)
        taken_in = time.perf_counter() - began
        await eventually(lambda: replica.is_done)
        published, writes = time.perf_counter() - began, replica.writes("written") - before
        began = time.perf_counter()
        texts = [replica.scene.book.text(shard) for shard in range(SHARDS)]
        rendered = time.perf_counter() - began
        began = time.perf_counter()
        replica.scene.put("c7", address="10.97.0.1")
        await eventually(lambda: replica.is_done)
        one = time.perf_counter() - began

    sizes = [len(text.encode()) for text in texts]
    print(  # noqa: T201 - the figures are asked for
        f"{MANY} routes: taken in {taken_in:.2f} s, rendered {rendered * 1000:.1f} ms, published after "
        f"{published:.2f} s by {writes:g} writes; "
        f"one change {one * 1000:.0f} ms; {sum(sizes)} bytes, the largest shard {max(sizes)}"
    )
    assert len(Routes(api).all()) == MANY
    assert writes <= SHARDS * (published / INTERVAL + 1)
    assert max(sizes) < 2**20 / 50
