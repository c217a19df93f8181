"""Pure readings of live objects: is this workload ready, what is it waiting for, which node ports did it get."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from customer_operator.observed import certificates


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far an object is: ready or not, stuck for good or not, and why, in a sentence.

    `reason` is the CamelCase word for it, where there is a better one than Ready or NotReady. What nobody can tell is
    `unknown`, and counts as ready: it holds nothing up.
    """

    ready: bool
    message: str = ""
    stuck: bool = False
    reason: str = ""
    unknown: bool = False


READY = Readiness(ready=True)


def of(live: Mapping[str, Any]) -> Readiness:
    """Return how far a live object is; an object without a notion of readiness is ready by existing."""
    match live["kind"]:
        case "Deployment":
            return _deployment(live)
        case "StatefulSet":
            return _stateful_set(live)
        case "Certificate":
            return _certificate(live)
        case _:
            return READY


def node_ports(live: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return the node ports of a live Service as (port name, number); empty for any other object."""
    if live["kind"] != "Service":
        return ()
    ports = live["spec"].get("ports") or ()
    return tuple((port.get("name", ""), port["nodePort"]) for port in ports if port.get("nodePort"))


def device_endpoint(live: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return address and port at which the front door reaches a broker, from its live Service; None for other objects.

    A Service of another type than ClusterIP has a door of its own.
    """
    if live["kind"] != "Service" or live["spec"].get("type") != "ClusterIP":
        return None
    address, ports = live["spec"].get("clusterIP"), live["spec"].get("ports") or ()
    if address in (None, "", "None"):
        return None
    return next(((address, port["port"]) for port in ports if port.get("name") == "mqtts"), None)


def hosts(live: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the hosts that a live Ingress serves; empty for any other object."""
    if live["kind"] != "Ingress":
        return ()
    return tuple(rule["host"] for rule in live["spec"].get("rules") or () if rule.get("host"))


def quota_enforced(live: Mapping[str, Any]) -> bool:
    """Tell whether the quota controller has taken up a live ResourceQuota.

    Until then the API server refuses every object that the quota counts ("status unknown for quota").
    """
    hard = (live.get("status") or {}).get("hard") or {}
    return set(hard_of(live)) <= set(hard)


def hard_of(live: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the amounts of a live ResourceQuota; a quota of somebody else's may have none."""
    return (live.get("spec") or {}).get("hard") or {}


def _deployment(live: Mapping[str, Any]) -> Readiness:
    status, want = live.get("status") or {}, live["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 1):
        return Readiness(ready=False, message="waiting for the deployment controller")
    for condition in status.get("conditions") or ():
        if condition["type"] == "Progressing" and condition["status"] == "False":
            return Readiness(ready=False, message=condition.get("message", "the rollout is stuck"), stuck=True)
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return Readiness(ready=False, message=condition.get("message", "pods cannot be created"))
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < want or available < want:
        return Readiness(ready=False, message=f"{min(updated, available)} of {want} replicas are available")
    return _stopping(status.get("replicas", 0) - want)


def _stateful_set(live: Mapping[str, Any]) -> Readiness:
    status, want = live.get("status") or {}, live["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < live["metadata"].get("generation", 1):
        return Readiness(ready=False, message="waiting for the stateful set controller")
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if want and (ready < want or updated < want or status.get("currentRevision") != status.get("updateRevision")):
        return Readiness(ready=False, message=f"{min(ready, updated)} of {want} replicas are ready")
    return _stopping(status.get("replicas", 0) - want)


def _certificate(live: Mapping[str, Any]) -> Readiness:
    """Pass on what cert-manager says: Issuing is False only when it has tried and failed, with the issuer's reason."""
    issuing, ready = certificates.condition(live, "Issuing"), certificates.condition(live, "Ready")
    failure = _words(issuing) if issuing.get("status") == "False" else ""
    if certificates.is_ready(live):
        end = (live.get("status") or {}).get("notAfter", "an unknown time")
        renewal = f"; its renewal fails: {failure}" if failure else ""
        return Readiness(ready=True, message=f"valid until {end}{renewal}")
    if failure:
        return Readiness(ready=False, message=f"cert-manager cannot get it: {failure}", stuck=True)
    return Readiness(ready=False, message=f"waiting for cert-manager: {_words(ready) or 'it has not looked at it yet'}")


def _words(condition: Mapping[str, Any]) -> str:
    return ": ".join(str(condition[part]) for part in ("reason", "message") if condition.get(part))


def _stopping(surplus: int) -> Readiness:
    return Readiness(ready=False, message=f"replicas still stopping: {surplus}") if surplus > 0 else READY


def terminating(live: Mapping[str, Any]) -> str | None:
    """Return why a Namespace that is being deleted still exists; None when it is not being deleted.

    The namespace controller writes the finalizers that hold it into the conditions NamespaceContentRemaining and
    NamespaceFinalizersRemaining.
    """
    if not live["metadata"].get("deletionTimestamp"):
        return None
    conditions = (live.get("status") or {}).get("conditions") or ()
    reasons = [
        item.get("message", item["type"])
        for item in conditions
        if item["type"] in _HOLDING and item["status"] == "True"
    ]
    return " ".join(reasons) or "its content is being deleted"


_HOLDING = (
    "NamespaceDeletionContentFailure",
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceFinalizersRemaining",
    "NamespaceContentRemaining",
)
