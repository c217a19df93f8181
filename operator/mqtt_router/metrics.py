"""The router's Prometheus metrics, on a registry that is passed in."""

from collections.abc import Callable
from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds. A change is live within tens of milliseconds; after an outage of the API server it is as late as that lasted.
_LAG_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

Resync = Literal["start", "restart", "failure"]
Problem = Literal["cluster", "haproxy", "file", "line", "shard"]


class Metrics:
    """What is counted while the router works."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics."""
        self._routes = Gauge("mqtt_router_routes", "Routes in HAProxy's map, as it was last read", registry=registry)
        self._shards = Gauge("mqtt_router_shards", "ConfigMaps of routes there are; 16 are right", registry=registry)
        self._in_sync = Gauge(
            "mqtt_router_in_sync", "1 while HAProxy's map holds the routes that are known, else 0", registry=registry
        )
        self._connected = Gauge(
            "mqtt_router_cluster_connected",
            "1 while changes come from the API server, 0 while the last ones are kept",
            registry=registry,
        )
        self._lag = Histogram(
            "mqtt_router_lag_seconds",
            "Time from a ConfigMap being written to its routes being live",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self._changes = Counter("mqtt_router_changes", "Entries of the map added, set and deleted", registry=registry)
        self._loads = Counter("mqtt_router_loads", "Times the whole map was loaded", registry=registry)
        self._resyncs = Counter(
            "mqtt_router_resyncs",
            "Times the whole map was read because it was not known: at the start, after a restart, after a failure",
            ["reason"],
            registry=registry,
        )
        self._mismatches = Counter(
            "mqtt_router_mismatches", "Times the map was read and was not as it had been left", registry=registry
        )
        self._errors = Counter(
            "mqtt_router_errors",
            "What went wrong: API server, HAProxy, the map's file, a line of a ConfigMap, a ConfigMap as a whole",
            ["what"],
            registry=registry,
        )
        # Of a counter that begins with its first event, that event is no increase.
        for reason in get_args(Resync):
            self._resyncs.labels(reason)
        for what in get_args(Problem):
            self._errors.labels(what)

    def follow(self, *, in_sync: Callable[[], bool], connected: Callable[[], bool]) -> None:
        """Show, whenever somebody looks, whether the map is right and the API server is followed."""
        self._in_sync.set_function(lambda: float(in_sync()))
        self._connected.set_function(lambda: float(connected()))

    def live(self, routes: int) -> None:
        """Show how many routes are live."""
        self._routes.set(routes)

    def shards(self, number: int) -> None:
        """Show how many ConfigMaps there are."""
        self._shards.set(number)

    def late(self, seconds: float) -> None:
        """Count a change by the time from its being written to its being live."""
        self._lag.observe(max(0.0, seconds))

    def changed(self, entries: int) -> None:
        """Count entries that were changed one by one."""
        self._changes.inc(entries)

    def loaded(self) -> None:
        """Count a load of the whole map."""
        self._loads.inc()

    def resync(self, reason: Resync) -> None:
        """Count that the map is read because it is not known."""
        self._resyncs.labels(reason).inc()

    def mismatch(self) -> None:
        """Count that the map is not what it was made."""
        self._mismatches.inc()

    def failed(self, what: Problem, number: int = 1) -> None:
        """Count what went wrong."""
        self._errors.labels(what).inc(number)
