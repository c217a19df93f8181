"""Certificates of cert-manager's as they are in the cluster, with what its controllers write into their status."""

from typing import Any

from customer_operator import naming
from customer_operator.naming import Manifest


def certificate(name: str = "web-tls", *, instance: str = "acme", generation: int = 1, **status: Any) -> Manifest:
    """Return a live Certificate of an instance; keyword arguments are fields of its status."""
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {
            "name": name,
            "namespace": naming.namespace_of(instance),
            "generation": generation,
            "labels": naming.labels(instance, "certificate"),
        },
        "spec": {"secretName": name},
        **({"status": status} if status else {}),
    }


def condition(kind: str, status: str, *, reason: str, message: str, generation: int = 1) -> dict[str, Any]:
    """Return a condition as cert-manager writes it."""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-11-21T12:00:00Z",
    }


def issued(
    *, until: str = "2027-02-19T12:00:00Z", since: str = "2026-11-21T12:00:00Z", generation: int = 1, **more: Any
) -> dict[str, Any]:
    """Return the status of a Certificate whose Secret is as it should be; `more` are further fields."""
    ready = condition("Ready", "True", reason="Ready", message="up to date", generation=generation)
    return {"conditions": [ready], "notBefore": since, "notAfter": until, "revision": 1, **more}


def waiting() -> dict[str, Any]:
    """Return the status of a Certificate that is being issued for the first time."""
    message = "Issuing certificate as Secret does not exist"
    return {
        "conditions": [
            condition("Ready", "False", reason="DoesNotExist", message=message),
            condition("Issuing", "True", reason="DoesNotExist", message=message),
        ]
    }


RATE_LIMIT = (
    "The certificate request has failed to complete and will be retried: Failed to wait for order resource to become "
    'ready: order is in "errored" state: Failed to create Order: 429 urn:ietf:params:acme:error:rateLimited'
)


def refused(**before: Any) -> dict[str, Any]:
    """Return the status of a Certificate that the issuer has refused; `before` is that of an earlier success."""
    ready = condition("Ready", "False", reason="DoesNotExist", message="Issuing certificate as Secret does not exist")
    kept = [item for item in before.get("conditions", [ready]) if item["type"] == "Ready"]
    failed = condition("Issuing", "False", reason="Failed", message=RATE_LIMIT)
    return {**before, "conditions": [*kept, failed], "failedIssuanceAttempts": 1}
