"""Statuses for tests: computed, and checked each time against the contract and against what kstatus expects."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from customer_operator.model.instance import CustomerInstance
from customer_operator.observed.readiness import READY, Readiness
from customer_operator.observed.state import ComponentState, ObservedState
from customer_operator.status import compute as status
from customer_operator.status.record import StatusRecord, read_status
from tests.support.generate import make_instance
from tests.support.schema import status_schema, violations

CREATED = make_instance().created_at
NOW = datetime(2026, 11, 21, 12, 1, tzinfo=UTC)  # a minute after the instance's creation

WAITING = Readiness(ready=False, message="0 of 1 replicas are available")
STUCK = Readiness(ready=False, message="the rollout is stuck", stuck=True)


def make_generation(*, generation: int = 1, retry_at: str | None = None) -> CustomerInstance:
    return replace(make_instance(), generation=generation, retry_at=retry_at)


def component(readiness: Readiness | None = READY, name: str = "postgres") -> ComponentState:
    condition = {"postgres": "PostgresReady", "mosquitto": "MosquittoReady", "api": "ApiReady"}[name]
    return ComponentState(name=name, condition=condition, readiness=readiness)


def make_observed_state(**overrides: Any) -> ObservedState:
    """Return a healthy instance as observed, changed by the overrides."""
    healthy: dict[str, Any] = {
        "plan": "starter",
        "namespace": "customer-acme",
        "namespace_ready": True,
        "quota_enforced": True,
        "applied_count": 10,
        "desired_count": 10,
        "components": (component(), component(name="api")),
        "urls": {"dashboard": "https://acme.iot.example.com"},
        "ports": {},
        "typical_seconds": 180.0,
    }
    return ObservedState(**{**healthy, **overrides})


def compute(
    observed: ObservedState,
    *,
    previous: status.Status | None = None,
    instance: CustomerInstance | None = None,
    now: datetime = NOW,
) -> dict[str, Any]:
    """Compute a status, and check what must hold of every one."""
    instance = instance or make_generation()
    computed = status.compute(instance=instance, observed=observed, previous=record(previous or {}), now=now)
    check(computed)
    return computed


def record(written: status.Status) -> StatusRecord:
    """Return a written status as the next pass reads it."""
    return read_status({"status": written})


def check(computed: status.Status) -> None:
    """Assert what must hold of every status."""
    assert list(violations(dict(computed), status_schema())) == []
    ready, reconciling, stalled = (holds(computed, kind) for kind in ("Ready", "Reconciling", "Stalled"))
    assert not (reconciling and stalled), "kstatus cannot read an object that is both"
    assert not (ready and (reconciling or stalled)), "Ready means that nothing remains to be done"
    assert all(item["observedGeneration"] == computed["observedGeneration"] for item in computed["conditions"])


def condition(computed: status.Status, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in computed["conditions"] if item["type"] == kind)
    return found


def holds(computed: status.Status, kind: str) -> bool:
    return bool(condition(computed, kind)["status"] == "True")
