"""Every name, label, annotation and owner reference is spelled here and nowhere else."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from mqtt_router.routes import ROUTES_LABEL

Manifest: TypeAlias = dict[str, Any]

GROUP: Final = "iotistic.cloud"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
PLURAL: Final = "customerinstances"
KIND: Final = "CustomerInstance"

FIELD_MANAGER: Final = "customer-operator"
FINALIZER: Final = f"{GROUP}/operator"

APPLIED_HASH_ANNOTATION: Final = f"{GROUP}/applied-hash"
RETRY_AT_ANNOTATION: Final = f"{GROUP}/retry-at"

# On pod templates: a change of what a pod reads only at start must replace the pod. One annotation per source, so that
# `kubectl rollout history` shows what caused a rollout.
CONFIG_HASH_ANNOTATION: Final = f"{GROUP}/config-hash"
CERTIFICATE_HASH_ANNOTATION: Final = f"{GROUP}/certificate-hash"
# Beside it when the certificate is one of cert-manager's: its end.
CERTIFICATE_EXPIRY_ANNOTATION: Final = f"{GROUP}/certificate-expires-at"
LICENSE_HASH_ANNOTATION: Final = f"{GROUP}/license-hash"
# On a broker's StatefulSet: the Certificate that was asked for on its behalf. By this mark an operator that is to ask
# for none any more, and does not watch them, finds the one that is left.
CERTIFICATE_ANNOTATION: Final = f"{GROUP}/certificate"

INSTANCE_LABEL: Final = f"{GROUP}/instance"
CUSTOMER_LABEL: Final = f"{GROUP}/customer-id"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"

# The generated passwords and certificates of an instance, in its namespace; never mounted into a pod.
CREDENTIALS_SECRET: Final = "credentials"  # noqa: S105 - the name of a Secret
# The certificate authority that signs the brokers' certificates, in the operator's namespace.
AUTHORITY_SECRET: Final = "mqtt-ca"  # noqa: S105 - the name of a Secret

# Not "customer-...": that would be the namespace of an instance.
OPERATOR_NAMESPACE: Final = "iotistic-system"
OPERATOR_SERVICE_ACCOUNT: Final = "customer-operator"
# The one ClusterRole that the operator may bind, to itself, in each namespace it creates.
TENANT_ROLE: Final = "customer-operator-tenant"

_NAMESPACE_PREFIX: Final = "customer-"


def namespace_of(name: str) -> str:
    """Return the namespace of the instance called `name`."""
    return f"{_NAMESPACE_PREFIX}{name}"


def labels(instance_name: str, component: str) -> dict[str, str]:
    """Return the labels of every object: the recommended set of Kubernetes plus the instance's own."""
    return {
        "app.kubernetes.io/name": "customer-instance",
        "app.kubernetes.io/instance": instance_name,
        COMPONENT_LABEL: component,
        "app.kubernetes.io/part-of": "iotistic",
        "app.kubernetes.io/managed-by": FIELD_MANAGER,
        INSTANCE_LABEL: instance_name,
    }


def route_labels() -> dict[str, str]:
    """Return the labels of the ConfigMaps that hold the front door's routes, which are no instance's."""
    return {"app.kubernetes.io/managed-by": FIELD_MANAGER, ROUTES_LABEL: "true"}


def selector(instance_name: str, component: str) -> dict[str, str]:
    """Return the labels that select a component's pods: few, because workload selectors are immutable."""
    return {"app.kubernetes.io/instance": instance_name, COMPONENT_LABEL: component}


def is_labelled(manifest: Mapping[str, Any], instance_name: str) -> bool:
    """Tell whether an object carries the label of an instance."""
    return (manifest["metadata"].get("labels") or {}).get(INSTANCE_LABEL) == instance_name


def component_of(manifest: Mapping[str, Any]) -> str:
    """Return the name of the component an object belongs to, from its labels; "" when it has none."""
    return str((manifest["metadata"].get("labels") or {}).get(COMPONENT_LABEL, ""))


def owner_reference(name: str, uid: str) -> Manifest:
    """Return the reference by which the CustomerInstance owns its Namespace, and garbage collection finds it."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def web_host(instance_name: str, base_domain: str, template: str) -> str:
    """Return the host of dashboard and API; the template knows {name} and {base_domain}."""
    return template.format(name=instance_name, base_domain=base_domain)


def mqtt_host(instance_name: str, base_domain: str, template: str) -> str:
    """Return the host that devices name in TLS (SNI); the template knows {name} and {base_domain}."""
    return template.format(name=instance_name, base_domain=base_domain)


def broker_hosts(name: str, base_domain: str, template: str) -> list[str]:
    """Return the hosts that the broker's certificate must cover: the devices' first, then those within the cluster."""
    namespace = namespace_of(name)
    services = [
        host
        for service in ("mosquitto", "mqtt")
        for host in (
            service,
            f"{service}.{namespace}",
            f"{service}.{namespace}.svc",
            f"{service}.{namespace}.svc.cluster.local",
        )
    ]
    return [mqtt_host(name, base_domain, template), *services, "localhost"]


def resource(body: Mapping[str, Any], *, status: Mapping[str, Any]) -> Manifest:
    """Return what is applied to write an instance's status; the uid keeps it from creating a new resource."""
    metadata = {"name": body["metadata"]["name"], "uid": body["metadata"]["uid"]}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "status": dict(status)}


def with_finalizer(name: str, uid: str) -> Manifest:
    """Return what is applied to put our finalizer on an instance."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name, "uid": uid, "finalizers": [FINALIZER]}}


def without_finalizer(name: str, uid: str) -> Manifest:
    """Return what is applied to take our finalizer off: server-side apply removes what its manager no longer names."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name, "uid": uid}}
