"""The instance's namespace, and the operator's own right to work in it."""

from customer_operator import naming
from customer_operator.model.instance import CustomerInstance
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest

COMPONENT = "tenancy"


def build(instance: CustomerInstance, platform: Platform) -> list[Manifest]:
    """Return the Namespace and then the RoleBinding; nothing else can be written before both exist."""
    return [_namespace(instance), _role_binding(instance, platform)]


def _namespace(instance: CustomerInstance) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": naming.namespace_of(instance.name),
            "labels": {
                **naming.labels(instance.name, COMPONENT),
                naming.CUSTOMER_LABEL: instance.customer.id,
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/audit": "restricted",
                "pod-security.kubernetes.io/warn": "restricted",
            },
            "ownerReferences": [naming.owner_reference(instance.name, instance.uid)],
        },
    }


def _role_binding(instance: CustomerInstance, platform: Platform) -> Manifest:
    """Without this the operator has no right in the namespace: it holds none on Secrets or workloads cluster-wide."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {
            "name": naming.TENANT_ROLE,
            "namespace": naming.namespace_of(instance.name),
            "labels": naming.labels(instance.name, COMPONENT),
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
