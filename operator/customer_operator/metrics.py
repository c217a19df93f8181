"""The operator's Prometheus metrics, on a registry that is passed in."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds. A pass over a steady instance takes milliseconds, a first one with its writes seconds.
_PASS_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)
_WAIT_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)
_PUBLISH_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60)
_PROBE_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)
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
        self._route_writes = Counter(
            "customer_operator_route_writes",
            "Writes of ConfigMaps with routes of the front door",
            ["result"],
            registry=registry,
        )
        self._publishing = Histogram(
            "customer_operator_route_publish_seconds",
            "Time from the first change of a ConfigMap's routes to its being written",
            buckets=_PUBLISH_BUCKETS,
            registry=registry,
        )
        self._routes = Gauge("customer_operator_routes", "Routes of the front door", registry=registry)
        self._refused_routes = Gauge(
            "customer_operator_routes_refused",
            "Instances whose route is left out, as their condition RouteReady says",
            registry=registry,
        )
        self._pending_shards = Gauge(
            "customer_operator_route_shards_pending",
            "ConfigMaps with routes that wait to be looked at, or to be written",
            registry=registry,
        )
        self._probes = Counter(
            "customer_operator_route_probes", "Tries to reach a broker as a device does", ["outcome"], registry=registry
        )
        self._probe_seconds = Histogram(
            "customer_operator_route_probe_seconds",
            "Duration of a try that succeeded",
            buckets=_PROBE_BUCKETS,
            registry=registry,
        )
        self._unreachable = Gauge(
            "customer_operator_routes_unreachable",
            "Instances whose brokers no device reaches through the front door",
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

    def follow_routes(
        self, *, routes: Callable[[], int], refused: Callable[[], int], pending: Callable[[], int]
    ) -> None:
        """Show, whenever somebody looks, how many routes there are and are left out, and how many shards wait."""
        self._routes.set_function(routes)
        self._refused_routes.set_function(refused)
        self._pending_shards.set_function(pending)

    def route_write(self, result: str) -> None:
        """Count a write of a shard: "written", "conflict" or "error"."""
        self._route_writes.labels(result).inc()

    def routes_published(self, seconds: float) -> None:
        """Count how long a shard's first change waited until it was written."""
        self._publishing.observe(seconds)

    def follow_reachability(self, *, unreachable: Callable[[], int]) -> None:
        """Show, whenever somebody looks, how many instances no device reaches."""
        self._unreachable.set_function(unreachable)

    def probed(self, outcome: str, seconds: float) -> None:
        """Count a try by the step that failed, or "success", whose duration counts, or "error" for a defect of ours."""
        self._probes.labels(outcome).inc()
        if outcome == "success":
            self._probe_seconds.observe(seconds)

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
