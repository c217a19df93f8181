"""The operator's metrics as Prometheus reads them."""

import pytest
from prometheus_client import CollectorRegistry

from customer_operator.metrics import Metrics
from customer_operator.scheduling.collector import QueueCollector
from customer_operator.scheduling.queue import Priority, WorkQueue
from tests.support.queues import Clock, take


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def read(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"customer_operator_{name}", labels)


def test_requests_are_counted_by_verb_and_code(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    for verb, code in (("PATCH", "200"), ("PATCH", "200"), ("GET", "unreachable")):
        metrics.request(verb, code)

    assert read(registry, "api_requests_total", verb="PATCH", code="200") == 2
    assert read(registry, "api_requests_total", verb="GET", code="unreachable") == 1


def test_passes_waits_and_times_to_ready_are_counted_by_class(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry)
    metrics.reconciled("ready", 0.5)
    metrics.waited(Priority.PROFESSIONAL.label, 3.0)
    metrics.ready("trial", 42.0)

    assert read(registry, "reconcile_seconds_sum", outcome="ready") == 0.5
    assert read(registry, "queue_wait_seconds_sum", priority="professional") == 3.0
    assert read(registry, "time_to_ready_seconds_bucket", plan="trial", le="45.0") == 1
    assert read(registry, "time_to_ready_seconds_bucket", plan="trial", le="30.0") == 0


async def test_the_queue_is_read_when_it_is_scraped(registry: CollectorRegistry) -> None:
    clock = Clock()
    queue = WorkQueue(clock=clock)
    registry.register(QueueCollector(queue))
    queue.add("in-work", Priority.DELETE)
    await take(queue)
    queue.add("a", Priority.TRIAL)
    queue.add("b", Priority.TRIAL)
    queue.add("later", Priority.RESYNC, delay=600)
    queue.add("much-later", Priority.RESYNC, delay=900)
    clock.now += 7

    depths = {priority.label: read(registry, "queue_depth", priority=priority.label) for priority in Priority}
    assert depths == {"delete": 0, "enterprise": 0, "professional": 0, "starter": 0, "trial": 2, "resync": 0}
    assert read(registry, "queue_delayed") == 2
    assert read(registry, "queue_in_flight") == 1
    assert read(registry, "queue_oldest_wait_seconds") == 7


def test_an_idle_queue_has_waited_for_nothing(registry: CollectorRegistry) -> None:
    queue = WorkQueue(clock=Clock())
    registry.register(QueueCollector(queue))
    queue.add("later", Priority.RESYNC, delay=600)

    assert read(registry, "queue_oldest_wait_seconds") == 0


def test_the_license_keys_are_looked_at_whenever_somebody_looks(registry: CollectorRegistry) -> None:
    found = {"trusted": 2}
    Metrics(registry).follow_license_keys(trusted=lambda: found["trusted"], unreadable=lambda: not found["trusted"])

    assert (read(registry, "license_keys"), read(registry, "license_keys_unreadable")) == (2, 0)
    found["trusted"] = 0
    assert (read(registry, "license_keys"), read(registry, "license_keys_unreadable")) == (0, 1)


def test_the_routes_are_counted_whenever_somebody_looks(registry: CollectorRegistry) -> None:
    found = {"routes": 2, "refused": 1, "pending": 0}
    metrics = Metrics(registry)
    metrics.follow_routes(**{name: lambda name=name: found[name] for name in found})

    assert (read(registry, "routes"), read(registry, "routes_refused"), read(registry, "route_shards_pending")) == (
        2,
        1,
        0,
    )
    found["pending"] = 3
    metrics.route_write("conflict")
    metrics.routes_published(0.2)
    assert read(registry, "route_shards_pending") == 3
    assert registry.get_sample_value("customer_operator_route_writes_total", {"result": "conflict"}) == 1
    assert registry.get_sample_value("customer_operator_route_publish_seconds_bucket", {"le": "0.25"}) == 1
