"""What Prometheus is told. One object, made for one registry, passed to whoever counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

#: The target is 0.5 s for a signup (design, section 8), so the buckets are finest around it.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)


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
            "Calls refused because there were too many: of what (login, signup, stack), counted per what",
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
            "billing_outbox_pending", "Customer instances Kubernetes has not been told of yet", registry=registry
        )
        self.outbox_applies = Counter(
            "billing_outbox_applies",
            "Tries to apply a customer instance by outcome: applied, postponed, rejected",
            ["outcome"],
            registry=registry,
        )
        self.watch_connected = Gauge(
            "billing_cluster_watch_connected", "1 while the customer instances are in sight", registry=registry
        )
        for outcome in ("success", "wrong"):
            self.logins.labels(outcome)
        for outcome in ("applied", "postponed", "rejected"):
            self.outbox_applies.labels(outcome)
