"""The plain objects that several components have: metadata, ServiceAccount, Secret, Service."""

import base64
from collections.abc import Mapping, Sequence

from customer_operator import naming
from customer_operator.components.context import Context
from customer_operator.model.hashing import hash_of
from customer_operator.naming import Manifest


def metadata(context: Context, component: str, name: str) -> Manifest:
    """Return the metadata of an object in the instance's namespace; names there are short, the namespace is unique."""
    return {"name": name, "namespace": context.namespace, "labels": naming.labels(context.name, component)}


def service_account(context: Context, component: str, name: str) -> Manifest:
    """Return an account without rights and without a token: pods have one of their own, none talks to Kubernetes."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(context, component, name),
        "automountServiceAccountToken": False,
    }


def secret(context: Context, component: str, *, name: str, values: Mapping[str, str], kind: str = "Opaque") -> Manifest:
    """Return a Secret of text values; `data`, never `stringData`, which the server would not give back."""
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(context, component, name),
        "type": kind,
    }
    if values:
        manifest["data"] = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return manifest


def service(
    context: Context, component: str, *, name: str, ports: Sequence[Manifest], kind: str = "ClusterIP"
) -> Manifest:
    """Return a Service for the component's pods. Node ports are left to the server, which keeps what it allocated."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(context, component, name),
        "spec": {"type": kind, "selector": naming.selector(context.name, component), "ports": list(ports)},
    }


def port(name: str, number: int, target: str | None = None) -> Manifest:
    """Return a Service port that leads to the container port called `target`, or else `name`."""
    return {"name": name, "port": number, "targetPort": target or name, "protocol": "TCP"}


def data_hash(*manifests: Manifest) -> str:
    """Return a hash of what Secrets hold, for the annotation that rolls the pods which read them at start."""
    return hash_of([manifest.get("data", {}) for manifest in manifests])
