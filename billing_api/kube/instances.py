"""CustomerInstance as this package knows it: the spec it writes, the status it reads. Parsed once, at the edge."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

StageState = Literal["Pending", "Active", "Done", "Failed"]

GROUP, VERSION, PLURAL, KIND = "iotistic.cloud", "v1alpha1", "customerinstances", "CustomerInstance"
API_VERSION = f"{GROUP}/{VERSION}"

#: Owner of the fields we apply; server-side apply removes what we stop sending (Kubernetes: "field management").
FIELD_MANAGER = "billing-api"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the operator's current work."""

    name: str
    state: StageState
    started_at: datetime | None
    finished_at: datetime | None
    message: str | None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One thing that holds or does not; ``status`` is True, False or Unknown, as text."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Instance:
    """What the cluster knows of one customer's instance. Progress is in per cent, times are UTC."""

    name: str
    uid: str
    generation: int
    created_at: datetime | None
    deleting: bool
    phase: str | None
    progress: int
    message: str | None
    observed_generation: int
    attempts: int
    next_attempt_at: datetime | None
    estimated_ready_at: datetime | None
    namespace: str | None
    urls: Mapping[str, str]
    stages: tuple[Stage, ...]
    conditions: tuple[Condition, ...]
    time_to_ready_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What can be seen of one customer's instance.

    Attributes:
        instance: as it was last seen; None when it is not there.
        current: whether the picture is up to date.
        gone: whether the instance was there once and is no more.
    """

    instance: Instance | None
    current: bool
    gone: bool


#: What can be seen without a cluster.
NO_SIGHT = Sight(instance=None, current=False, gone=False)


def manifest(*, name: str, customer_id: str, email: str, company_name: str, plan: str, license: str) -> dict[str, Any]:
    """Return the CustomerInstance to apply for a customer.

    Args:
        plan: the license's plan: trial, starter, professional or enterprise.
        license: the license in compact form.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": name,
            "labels": {
                # The mark of our own: the policy billing-api-instances lets us change no instance without it.
                "app.kubernetes.io/managed-by": FIELD_MANAGER,
                "iotistic.cloud/customer-id": customer_id,
            },
        },
        "spec": {
            "customer": {"id": customer_id, "email": email, "companyName": company_name},
            "plan": plan,
            "license": {"key": license},
        },
    }


def parse(item: Mapping[str, Any]) -> Instance:
    """Read an object as the API server sends it; a status that is not there yet is empty."""
    metadata = item["metadata"]
    status = item.get("status") or {}
    return Instance(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 1),
        created_at=_time(metadata.get("creationTimestamp")),
        deleting="deletionTimestamp" in metadata,
        phase=status.get("phase"),
        progress=status.get("progress", 0),
        message=status.get("message"),
        observed_generation=status.get("observedGeneration", 0),
        attempts=status.get("attempts", 0),
        next_attempt_at=_time(status.get("nextAttemptAt")),
        estimated_ready_at=_time(status.get("estimatedReadyAt")),
        namespace=status.get("namespace"),
        urls=dict(status.get("urls") or {}),
        stages=tuple(_stage(stage) for stage in status.get("stages") or ()),
        conditions=tuple(_condition(condition) for condition in status.get("conditions") or ()),
        time_to_ready_seconds=status.get("timeToReadySeconds"),
    )


def _stage(stage: Mapping[str, Any]) -> Stage:
    return Stage(
        name=stage["name"],
        state=stage["state"],
        started_at=_time(stage.get("startedAt")),
        finished_at=_time(stage.get("finishedAt")),
        message=stage.get("message"),
    )


def _condition(condition: Mapping[str, Any]) -> Condition:
    return Condition(
        type=condition["type"],
        status=condition["status"],
        reason=condition.get("reason", ""),
        message=condition.get("message", ""),
    )


def _time(text: str | None) -> datetime | None:
    return None if not text else datetime.fromisoformat(text)
