"""The queue as Prometheus metrics, read when they are scraped."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from customer_operator.scheduling.queue import Priority, WorkQueue


class QueueCollector(Collector):
    """Reads the queue when it is scraped."""

    def __init__(self, queue: WorkQueue) -> None:
        """Take the queue to read."""
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        """Yield depth by class, delayed items, items in flight, and the longest wait."""
        depth = GaugeMetricFamily("customer_operator_queue_depth", "Instances waiting for work", labels=["priority"])
        counts = self._queue.depth()
        for priority in Priority:
            depth.add_metric([priority.label], counts[priority])
        yield depth
        yield GaugeMetricFamily(
            "customer_operator_queue_delayed", "Instances due later (retry, resync)", value=self._queue.delayed()
        )
        yield GaugeMetricFamily(
            "customer_operator_queue_in_flight", "Instances in flight", value=self._queue.in_flight()
        )
        yield GaugeMetricFamily(
            "customer_operator_queue_oldest_wait_seconds",
            "Longest wait of a due instance",
            value=self._queue.oldest_wait(),
        )
