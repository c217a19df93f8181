"""What Prometheus is told. One object, made for one registry, passed to whoever counts."""

from collections.abc import Iterable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

#: The target is 0.5 s for a signup (design, section 8), so the buckets are finest around it.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)


_OUTCOMES = ("done", "postponed", "refused", "lost")


class OutboxCounts(Protocol):
    """How much of a kind is not done; the ages in seconds."""

    @property
    def kind(self) -> str: ...  # noqa: D102 - see the class
    @property
    def pending(self) -> int: ...  # noqa: D102
    @property
    def refused(self) -> int: ...  # noqa: D102
    @property
    def oldest_seconds(self) -> float: ...  # noqa: D102


class Metrics:
    """All metrics of the process; the names start with ``billing_``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.request_seconds = Histogram(
            "billing_http_request_duration_seconds",
            "Time to answer a request",
            ["method", "route", "status"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.signups = Counter("billing_signups", "Accounts created", registry=registry)
        self.logins = Counter("billing_logins", "Logins by outcome: success, wrong", ["outcome"], registry=registry)
        self.limited = Counter(
            "billing_limited",
            "Calls refused because there were too many: of what (login, signup, stack, stream), counted per what",
            ["name", "per"],
            registry=registry,
        )
        self.passwords_waiting = Gauge(
            "billing_passwords_waiting",
            "Passwords that wait to be hashed, by lane: hash (signups), verify (logins)",
            ["lane"],
            registry=registry,
        )
        self.outbox_pending = Gauge(
            "billing_outbox_pending", "Outbox rows that are still to be done", ["kind"], registry=registry
        )
        self.outbox_refused = Gauge(
            "billing_outbox_refused", "Outbox rows refused for good, until retried", ["kind"], registry=registry
        )
        self.outbox_oldest = Gauge(
            "billing_outbox_oldest_pending_seconds",
            "Age of the oldest outbox row that is still to be done",
            ["kind"],
            registry=registry,
        )
        self.outbox_attempts = Counter(
            "billing_outbox_attempts",
            "Tries by outcome: done, postponed, refused, lost (its lease ran out)",
            ["kind", "outcome"],
            registry=registry,
        )
        self.task_restarts = Counter(
            "billing_task_restarts", "Background tasks started again after a failure", ["task"], registry=registry
        )
        self.watch_connected = Gauge(
            "billing_cluster_watch_connected", "1 while the customer instances are in sight", registry=registry
        )
        self.instances_unreadable = Gauge(
            "billing_instances_unreadable",
            "Customer instances whose present state cannot be read; their last known one stays in use",
            registry=registry,
        )
        self.event_streams = Gauge(
            "billing_event_streams", "Event streams of deployments that are open", registry=registry
        )
        for outcome in ("success", "wrong"):
            self.logins.labels(outcome)
        self._outbox_kinds: set[str] = set()

    def know_outbox(self, kinds: Iterable[str]) -> None:
        """Show these kinds of the outbox even when nothing has happened yet."""
        for kind in kinds:
            self._outbox_kinds.add(kind)
            for outcome in _OUTCOMES:
                self.outbox_attempts.labels(kind, outcome)

    def show_outbox(self, counts: Iterable[OutboxCounts] | None) -> None:
        """Show how much of each kind is not done: zero of a kind that is not told of, NaN of all when None is known."""
        known = {count.kind: count for count in counts or ()}
        self._outbox_kinds |= known.keys()
        for kind in self._outbox_kinds:
            count, absent = known.get(kind), float("nan") if counts is None else 0.0
            self.outbox_pending.labels(kind).set(count.pending if count else absent)
            self.outbox_refused.labels(kind).set(count.refused if count else absent)
            self.outbox_oldest.labels(kind).set(count.oldest_seconds if count else absent)


class ConnectionMetrics:
    """What the server counts of its connections."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = Gauge("billing_connections", "Client connections open", registry=registry)
        self.ended = Counter(
            "billing_connections_ended_early",
            "Connections the server has ended: slow_head, slow_body, slow_reader, evicted, refused, malformed",
            ["reason"],
            registry=registry,
        )
        for reason in ("slow_head", "slow_body", "slow_reader", "evicted", "refused", "malformed"):
            self.ended.labels(reason)
