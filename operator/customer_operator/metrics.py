"""The operator's Prometheus metrics, on a registry that is passed in."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds. A pass over a steady instance takes milliseconds, a first one with its writes seconds.
_PASS_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)
_WAIT_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)
_READY_BUCKETS = (5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800)


class Metrics:
    """What is counted while the operator works."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics."""
        self._requests = Counter(
            "customer_operator_api_requests", "Requests to the API server", ["verb", "code"], registry=registry
        )
        self._passes = Histogram(
            "customer_operator_reconcile_seconds",
            "Duration of one reconcile pass",
            ["outcome"],
            buckets=_PASS_BUCKETS,
            registry=registry,
        )
        self._waits = Histogram(
            "customer_operator_queue_wait_seconds",
            "Time between an instance being due and being taken up",
            ["priority"],
            buckets=_WAIT_BUCKETS,
            registry=registry,
        )
        self._ready = Histogram(
            "customer_operator_time_to_ready_seconds",
            "Time from the creation of an instance to its first Ready",
            ["plan"],
            buckets=_READY_BUCKETS,
            registry=registry,
        )
        self._trusted_keys = Gauge("customer_operator_license_keys", "License keys that are trusted", registry=registry)
        self._unreadable_keys = Gauge(
            "customer_operator_license_keys_unreadable",
            "1 while the file of the license keys cannot be read; those known before stay in use",
            registry=registry,
        )

    def follow_license_keys(self, *, trusted: Callable[[], int], unreadable: Callable[[], bool]) -> None:
        """Show, whenever somebody looks, how many keys are trusted and whether their file cannot be read."""
        self._trusted_keys.set_function(trusted)
        self._unreadable_keys.set_function(unreadable)

    def request(self, verb: str, code: str) -> None:
        """Count a request to the API server by HTTP method and status code, or "unreachable"."""
        self._requests.labels(verb, code).inc()

    def reconciled(self, outcome: str, seconds: float) -> None:
        """Count a pass by its outcome."""
        self._passes.labels(outcome).observe(seconds)

    def waited(self, priority: str, seconds: float) -> None:
        """Count the wait of an item taken from the queue."""
        self._waits.labels(priority).observe(seconds)

    def ready(self, plan: str, seconds: float) -> None:
        """Count an instance's first Ready."""
        self._ready.labels(plan).observe(seconds)
