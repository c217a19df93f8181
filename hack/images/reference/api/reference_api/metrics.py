"""What Prometheus is told at /metrics."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS: Final = (0.005, 0.02, 0.1, 0.5, 2.0)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "api_requests", "Requests answered", ["method", "endpoint", "status"], registry=registry
        )
        self.seconds = Histogram(
            "api_request_duration_seconds", "Time until the answer was ready", buckets=_BUCKETS, registry=registry
        )
        self.stored = Counter("api_readings_stored", "Readings committed to the database", registry=registry)
        self.repeated = Counter(
            "api_readings_repeated", "Readings delivered again that were stored already", registry=registry
        )
        self.rejected = Counter(
            "api_readings_rejected",
            "Messages acknowledged and not stored: topic, payload, time, device (unknown), limit (of the day)",
            ["reason"],
            registry=registry,
        )
        self.devices = Gauge("api_devices", "Registered devices", registry=registry)
        self.subscribed = Gauge(
            "api_broker_subscribed", "1 while the subscription to the devices' topics is in place", registry=registry
        )
