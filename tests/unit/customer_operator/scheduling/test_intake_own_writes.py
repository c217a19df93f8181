"""What comes in by the watches, beside what the operator's own writes have told already."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from customer_operator import naming
from customer_operator.errors import InstanceInvalid
from customer_operator.kube.client import KubeClient
from customer_operator.metrics import Metrics
from customer_operator.naming import Manifest
from customer_operator.observed.cache import ObjectCache
from customer_operator.reconcile.reporter import Reporter
from customer_operator.routing.book import RouteBook
from customer_operator.scheduling.intake import Intake
from customer_operator.scheduling.queue import WorkQueue
from customer_operator.scheduling.workers import Workers
from tests.support.fake_kube import FakeKube
from tests.support.generate import make_platform
from tests.support.queues import Clock, take

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Bench:
    """Intake and queue over a cache, and a reporter that writes to a server of its own."""

    clock: Clock = field(default_factory=Clock)
    cache: ObjectCache = field(default_factory=ObjectCache)
    kube: FakeKube = field(default_factory=FakeKube)

    def __post_init__(self) -> None:
        metrics = Metrics(CollectorRegistry())
        self.queue = WorkQueue(clock=self.clock)
        self.workers = Workers(
            queue=self.queue, cache=self.cache, metrics=metrics, concurrency=1, resync=600.0, clock=self.clock
        )
        routes = RouteBook(cache=self.cache, platform=make_platform())
        self.intake = Intake(cache=self.cache, routes=routes, workers=self.workers, works=lambda: True)
        self.reporter = Reporter(
            client=cast("KubeClient", self.kube), cache=self.cache, metrics=metrics, clock=lambda: NOW
        )

    def put(self, name: str = "acme", *, hostname: str | None = None, **metadata: Any) -> Manifest:
        """Write a resource as its author would, without an event."""
        body = self.kube.find(naming.KIND, name) or {"metadata": {"name": name}}
        spec = {"hostname": hostname} if hostname else {}
        return self.kube.put(
            {
                **body,
                "apiVersion": naming.API_VERSION,
                "kind": naming.KIND,
                "metadata": {**body["metadata"], **metadata},
                "spec": spec,
            }
        )

    async def work(self) -> str | None:
        """Take what is due, and end the work on it."""
        item = await take(self.queue)
        if item is not None:
            self.queue.done(item.name)
        return item.name if item else None


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2},
        {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [naming.FINALIZER]},
        {"annotations": {naming.RETRY_AT_ANNOTATION: "2026-01-01T00:00:00Z"}},
    ],
    ids=["spec", "deletion", "annotation"],
)
async def test_a_change_that_our_own_write_has_overtaken_is_queued(bench: Bench, change: dict[str, Any]) -> None:
    """The answer to our write holds the change; its event comes later, and must not count as known."""
    body = bench.put(generation=1)
    bench.intake.upsert_instance(body)
    assert await bench.work() == "acme"

    changed = bench.put(**change)
    await bench.reporter.report_unreadable(body, InstanceInvalid("spec", "it is broken"))
    for event in (changed, bench.kube.find(naming.KIND, "acme")):
        assert event is not None
        bench.intake.upsert_instance(event)

    assert await bench.work() == "acme"
    assert bench.cache.instance("acme") == bench.kube.find(naming.KIND, "acme")


async def test_our_own_write_is_no_news(bench: Bench) -> None:
    body = bench.put(generation=1)
    bench.intake.upsert_instance(body)
    assert await bench.work() == "acme"

    await bench.reporter.report_unreadable(body, InstanceInvalid("spec", "it is broken"))
    written = bench.kube.find(naming.KIND, "acme")
    assert written is not None
    assert bench.cache.instance("acme") == written
    bench.intake.upsert_instance(written)

    assert await bench.work() is None


async def test_the_answer_to_a_write_does_not_bring_a_removed_resource_back(bench: Bench) -> None:
    body = bench.put(generation=1)
    bench.intake.upsert_instance(body)

    bench.intake.delete_instance(body)
    await bench.reporter.report_unreadable(body, InstanceInvalid("spec", "it is broken"))

    assert bench.cache.instance("acme") is None
