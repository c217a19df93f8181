"""The instance's namespace, and the operator's own right to work in it."""

from customer_operator import naming
from customer_operator.model.instance import CustomerInstance, DeletionPolicy
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest

COMPONENT = "tenancy"


def build(instance: CustomerInstance, platform: Platform) -> list[Manifest]:
    """Return the Namespace and then the RoleBinding; nothing else can be written before both exist."""
    return [_namespace(instance), role_binding(instance.name, platform)]


def _namespace(instance: CustomerInstance) -> Manifest:
    metadata: Manifest = {
        "name": naming.namespace_of(instance.name),
        "labels": {
            **naming.labels(instance.name, COMPONENT),
            naming.CUSTOMER_LABEL: instance.customer.id,
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/audit": "restricted",
            "pod-security.kubernetes.io/warn": "restricted",
        },
    }
    if instance.deletion_policy is DeletionPolicy.DELETE:
        # With Retain there is no owner at all: garbage collection could take the data by it, whatever the operator
        # does (foreground deletion removes what is owned first, before any finalizer has its turn).
        metadata["ownerReferences"] = [naming.owner_reference(instance.name, instance.uid)]
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def role_binding(name: str, platform: Platform) -> Manifest:
    """Return the operator's right in the namespace: it holds none on Secrets or workloads of the whole cluster."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {
            "name": naming.TENANT_ROLE,
            "namespace": naming.namespace_of(name),
            "labels": naming.labels(name, COMPONENT),
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": naming.TENANT_ROLE},
        "subjects": [
            {
                "kind": "ServiceAccount",
                "name": naming.OPERATOR_SERVICE_ACCOUNT,
                "namespace": platform.operator_namespace,
            }
        ],
    }
