"""CustomerInstance as this package knows it: the spec it writes, the status it reads. Parsed once, at the edge."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from billing_api.errors import InstanceUnreadable

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
    started_at: AwareDatetime | None
    finished_at: AwareDatetime | None
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
    customer_id: str
    uid: str
    generation: int
    created_at: AwareDatetime | None
    deleting: bool
    phase: str | None
    progress: int
    message: str | None
    observed_generation: int
    attempts: int
    next_attempt_at: AwareDatetime | None
    estimated_ready_at: AwareDatetime | None
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
        readable: whether what is there now was understood; otherwise `instance` is an older state of it, or None.
    """

    instance: Instance | None
    current: bool
    gone: bool
    readable: bool = True


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


#: Checks the types, too: what is not as the contract says must not reach those who look at it.
_INSTANCE: Final = TypeAdapter(Instance)


def parse(item: Mapping[str, Any]) -> Instance:
    """Read an object as the API server sends it; a status that is not there yet is empty.

    Raises:
        InstanceUnreadable: it is not as the contract says, for example because the contract is newer than we are.
    """
    try:
        return _INSTANCE.validate_python(_fields(item))
    except ValidationError as error:
        # Not as its cause: pydantic's own text may show values.
        first = error.errors(include_input=False, include_url=False)[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise InstanceUnreadable(problem)


def _fields(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata, status = item["metadata"], item.get("status") or {}
    return {
        "name": metadata["name"],
        # Not the label, which an instance that others have ordered may lack: this is required, and never changes.
        "customer_id": (item.get("spec") or {}).get("customer", {}).get("id", ""),
        "uid": metadata.get("uid", ""),
        "generation": metadata.get("generation", 1),
        "created_at": metadata.get("creationTimestamp"),
        "deleting": "deletionTimestamp" in metadata,
        "phase": status.get("phase"),
        "progress": status.get("progress", 0),
        "message": status.get("message"),
        "observed_generation": status.get("observedGeneration", 0),
        "attempts": status.get("attempts", 0),
        "next_attempt_at": status.get("nextAttemptAt") or None,
        "estimated_ready_at": status.get("estimatedReadyAt") or None,
        "namespace": status.get("namespace"),
        "urls": status.get("urls") or {},
        "stages": [_stage(stage) for stage in status.get("stages") or ()],
        "conditions": [_condition(condition) for condition in status.get("conditions") or ()],
        "time_to_ready_seconds": status.get("timeToReadySeconds"),
    }


def _stage(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": stage["name"],
        "state": stage["state"],
        "started_at": stage.get("startedAt") or None,
        "finished_at": stage.get("finishedAt") or None,
        "message": stage.get("message"),
    }


def _condition(condition: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": condition["type"],
        "status": condition["status"],
        "reason": condition.get("reason", ""),
        "message": condition.get("message", ""),
    }
