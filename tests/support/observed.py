"""Live objects for tests of the object cache: one Service and one Namespace of the instance acme, in many versions."""

from typing import Any

from customer_operator import naming
from customer_operator.naming import Manifest
from customer_operator.observed import drift
from customer_operator.observed.cache import Key

NAME = "acme"
KEY = Key("Service", "api")
NAMESPACE_KEY = Key("Namespace", naming.namespace_of(NAME))


def desired(port: int = 80, *, name: str = "api", annotations: dict[str, str] | None = None) -> Manifest:
    """Return a Service as the builders want it, with its hash."""
    labels = naming.labels(NAME, "api")
    metadata = {"name": name, "namespace": naming.namespace_of(NAME), "labels": labels}
    return drift.with_hash(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**metadata, "annotations": annotations or {}},
            "spec": {"ports": [{"name": "http", "port": port}]},
        }
    )


def live(version: int, manifest: Manifest | None = None, *, uid: str = "u", **fields: Any) -> Manifest:
    """Return an object as the API server has it; without a manifest it is the desired Service."""
    manifest = manifest or desired()
    metadata = {**manifest["metadata"], "resourceVersion": str(version), "uid": uid}
    return {**manifest, "metadata": metadata, **fields}


def live_namespace(version: int, *, uid: str = "ns", terminating: bool = False, labels: bool = True) -> Manifest:
    """Return the instance's namespace as the API server has it."""
    metadata: Manifest = {"name": naming.namespace_of(NAME), "uid": uid, "resourceVersion": str(version)}
    if labels:
        metadata["labels"] = naming.labels(NAME, "tenancy")
    if terminating:
        metadata["deletionTimestamp"] = "2026-11-21T14:00:00Z"
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def instance(version: int, *, name: str = NAME, uid: str = "u", created: str = "01", **spec: Any) -> Manifest:
    """Return a resource; `created` is the minute of its creation."""
    metadata = {"name": name, "uid": uid, "resourceVersion": str(version), "managedFields": ["much"]}
    metadata["creationTimestamp"] = f"2026-11-21T12:{created}:00Z"
    return {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": metadata, "spec": spec}
