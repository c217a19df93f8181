"""What the operator may do with its own token, and above all what it may not: by its roles, and by the policies."""

import time
from collections.abc import Iterator

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from tests.support.kubernetes import PATIENCE, Kubernetes, Refused, order
from tests.support.rights import (
    DRY,
    Act,
    Allowed,
    Forbidden,
    assert_refused,
    binding,
    customers_namespace,
    owner,
    standing_rights,
    thing,
    workload,
)

OURS = naming.namespace_of("operator-rights")
AUTHORITY = thing("Secret", naming.AUTHORITY_SECRET, namespace=naming.OPERATOR_NAMESPACE)


def _workload(**changes: object) -> Manifest:
    return workload(namespace=OURS, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module", autouse=True)
def _bound(api: Kubernetes, operator_access: Kubernetes) -> Iterator[None]:
    """An instance's namespace in which the operator has bound itself, one that is nobody's, and the authority."""
    api.create(customers_namespace("operator-rights"))
    api.create(thing("Namespace", "customer-unbound"))
    api.apply(AUTHORITY)
    operator_access.create(binding(namespace=OURS))
    _await_right(operator_access)
    yield
    api.delete("Namespace", OURS)
    api.delete("Namespace", "customer-unbound")


def _await_right(access: Kubernetes) -> None:
    """Wait until the authorizer has heard of the binding; nothing tells when it has."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            access.items("Deployment", namespace=OURS)
        except Refused:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"waited {PATIENCE:g} s for the operator's right in {OURS}")


BY_THE_ROLES: Forbidden = {
    "write a ConfigMap into kube-system": (
        lambda access: access.create(thing("ConfigMap", namespace="kube-system")),
        'cannot create resource "configmaps"',
    ),
    "write a Secret into kube-system": (
        lambda access: access.create(thing("Secret", namespace="kube-system")),
        'cannot create resource "secrets"',
    ),
    "write a Secret where it is not bound": (
        lambda access: access.create(thing("Secret", namespace="customer-unbound")),
        'cannot create resource "secrets"',
    ),
    "read a Secret of the billing API": (
        lambda access: access.get("Secret", "stripe", namespace="billing"),
        'cannot get resource "secrets"',
    ),
    "read all Secrets": (lambda access: access.items("Secret"), 'cannot list resource "secrets"'),
    "read all ConfigMaps": (lambda access: access.items("ConfigMap"), 'cannot list resource "configmaps"'),
    "read all Pods": (lambda access: access.items("Pod"), 'cannot list resource "pods"'),
    "read all volume claims": (
        lambda access: access.items("PersistentVolumeClaim"),
        'cannot list resource "persistentvolumeclaims"',
    ),
    "read Secrets where it is not bound": (
        lambda access: access.items("Secret", namespace="customer-unbound"),
        'cannot list resource "secrets"',
    ),
    "list the Secrets of its own namespace": (
        lambda access: access.items("Secret", namespace=naming.OPERATOR_NAMESPACE),
        'cannot list resource "secrets"',
    ),
    "change a Secret of its own namespace that is not the authority": (
        lambda access: access.patch("Secret", "probe", {"data": {}}, namespace=naming.OPERATOR_NAMESPACE),
        'cannot patch resource "secrets"',
    ),
    "delete the authority": (
        lambda access: access.delete("Secret", naming.AUTHORITY_SECRET, namespace=naming.OPERATOR_NAMESPACE, **DRY),
        'cannot delete resource "secrets"',
    ),
    "read another ConfigMap of the router's": (
        lambda access: access.get("ConfigMap", "haproxy", namespace="mqtt-router"),
        'cannot get resource "configmaps"',
    ),
    "change another ConfigMap of the router's": (
        lambda access: access.patch("ConfigMap", "haproxy", {"data": {}}, namespace="mqtt-router"),
        'cannot patch resource "configmaps"',
    ),
    "delete routes": (
        lambda access: access.delete("ConfigMap", "mqtt-routes-00", namespace="mqtt-router", **DRY),
        'cannot delete resource "configmaps"',
    ),
    "read the router's Secrets": (
        lambda access: access.items("Secret", namespace="mqtt-router"),
        'cannot list resource "secrets"',
    ),
    "bind another role": (
        lambda access: access.create(binding(role="cluster-admin", namespace=OURS), **DRY),
        "attempting to grant RBAC permissions not currently held",
    ),
    "write a Role": (
        lambda access: access.create(
            thing("Role", namespace=OURS, version="rbac.authorization.k8s.io/v1", rules=[]), **DRY
        ),
        'cannot create resource "roles"',
    ),
    "change the role it binds": (
        lambda access: access.patch("ClusterRole", naming.TENANT_ROLE, {"rules": []}),
        'cannot patch resource "clusterroles"',
    ),
    "run a command in a customer's pod": (
        lambda access: access.post("Pod", "postgres-0", "exec", namespace=OURS),
        'cannot create resource "pods/exec"',
    ),
    "delete a volume claim": (
        lambda access: access.delete("PersistentVolumeClaim", "data-postgres-0", namespace=OURS, **DRY),
        'cannot delete resource "persistentvolumeclaims"',
    ),
    "delete an instance": (lambda access: access.delete(naming.KIND, "any"), 'cannot delete resource "customerinst'),
    "order an instance": (lambda access: access.create(order("any")), 'cannot create resource "customerinst'),
}

# What its roles let it do, and the policies do not.
BY_THE_POLICIES: Forbidden = {
    "create a namespace of another name": (
        lambda access: access.create(thing("Namespace", "other"), **DRY),
        "may write only into namespaces",
    ),
    "bind itself in kube-system": (
        lambda access: access.create(binding(namespace="kube-system"), **DRY),
        "may write only into namespaces",
    ),
    "bind itself in its own namespace": (
        lambda access: access.create(binding(namespace=naming.OPERATOR_NAMESPACE), **DRY),
        "only its Lease customer-operator and its Secret mqtt-ca, not CREATE rolebindings",
    ),
    "bind itself in a namespace that is nobody's": (
        lambda access: access.create(binding(namespace="customer-unbound"), **DRY),
        "namespace customer-unbound is no instance's",
    ),
    "bind somebody else": (
        lambda access: access.apply(
            binding(namespace=OURS, subjects=[{"kind": "User", "name": "mallory"}]), fieldManager="operator", **DRY
        ),
        "subjects of a RoleBinding",
    ),
    "take over a namespace that is nobody's": (
        lambda access: access.apply(customers_namespace("unbound"), **DRY),
        "namespace customer-unbound exists and is no instance's",
    ),
    "create a namespace that is not restricted": (
        lambda access: access.create(
            customers_namespace("open", labels={"pod-security.kubernetes.io/enforce": "privileged"}), **DRY
        ),
        "must set .* to restricted",
    ),
    "open an instance's namespace": (
        lambda access: access.patch(
            "Namespace", OURS, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": None}}}, **DRY
        ),
        "must set .* to restricted",
    ),
    "write a Secret into its own namespace": (
        lambda access: access.create(thing("Secret", namespace=naming.OPERATOR_NAMESPACE), **DRY),
        "only its Lease customer-operator and its Secret mqtt-ca, not CREATE secrets probe",
    ),
    "create another ConfigMap of the router's": (
        lambda access: access.create(thing("ConfigMap", "haproxy", namespace="mqtt-router"), **DRY),
        "only the ConfigMaps mqtt-routes-00 to mqtt-routes-0f, not CREATE configmaps haproxy",
    ),
    "write a privileged workload": (
        lambda access: access.create(
            _workload(container={"securityContext": {"privileged": True, "allowPrivilegeEscalation": True}}), **DRY
        ),
        "securityContext.privileged of a container must not be set",
    ),
    "write a workload that mounts its node's files": (
        lambda access: access.create(_workload(volumes=[{"name": "node", "hostPath": {"path": "/"}}]), **DRY),
        "nothing else such as hostPath",
    ),
}

ALLOWED: Allowed = {
    "create a namespace that is restricted": lambda access: access.apply(
        customers_namespace("fresh", owners=[owner("fresh")]), **DRY
    ),
    "bind itself in an instance's namespace": lambda access: access.apply(binding(namespace=OURS), **DRY),
    "write a workload there": lambda access: access.create(_workload(), **DRY),
    "write a Secret there": lambda access: access.create(thing("Secret", namespace=OURS), **DRY),
    "read pods there": lambda access: access.items("Pod", namespace=OURS),
    "read volume claims there": lambda access: access.items("PersistentVolumeClaim", namespace=OURS),
    "read the authority": lambda access: access.get(
        "Secret", naming.AUTHORITY_SECRET, namespace=naming.OPERATOR_NAMESPACE
    ),
    "renew the authority": lambda access: access.apply(AUTHORITY, **DRY),
    "follow the routes": lambda access: access.items("ConfigMap", namespace="mqtt-router"),
    "publish routes": lambda access: access.create(
        thing("ConfigMap", "mqtt-routes-0a", namespace="mqtt-router"), **DRY
    ),
}
# What it watches, in all namespaces; Certificates in test_certificates.py, where there are any.
WATCHED = [
    "Deployment",
    "Ingress",
    "LimitRange",
    "Namespace",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "ResourceQuota",
    "RoleBinding",
    "Service",
    "ServiceAccount",
    "StatefulSet",
]


@pytest.mark.parametrize(("act", "message"), BY_THE_ROLES.values(), ids=BY_THE_ROLES.keys())
def test_the_operators_roles_do_not_let_it(operator_access: Kubernetes, act: Act, message: str) -> None:
    assert_refused(operator_access, act, message)


@pytest.mark.parametrize(("act", "message"), BY_THE_POLICIES.values(), ids=BY_THE_POLICIES.keys())
def test_the_policies_do_not_let_the_operator(operator_access: Kubernetes, act: Act, message: str) -> None:
    assert_refused(operator_access, act, message)


@pytest.mark.parametrize("act", ALLOWED.values(), ids=ALLOWED.keys())
def test_the_operator_may(operator_access: Kubernetes, act: Act) -> None:
    act(operator_access)


@pytest.mark.parametrize("kind", WATCHED)
def test_the_operator_sees_everywhere(operator_access: Kubernetes, kind: str) -> None:
    operator_access.items(kind, labels=naming.INSTANCE_LABEL)


def test_the_operator_has_no_standing_right_on_secrets_and_only_looks_at_workloads(operator_access: Kubernetes) -> None:
    rights = standing_rights(operator_access)
    looks = {resource for resource, _ in rights} - {"customerinstances", "namespaces", "rolebindings"}
    assert {verb for resource, verb in rights if resource in ("deployments", "statefulsets")} == {"list", "watch"}
    assert not looks & {"secrets", "pods", "pods/exec", "configmaps", "persistentvolumeclaims", "*"}
    assert {resource for resource, verb in rights if verb not in ("get", "list", "watch", "bind")} == {
        "customerinstances",
        "customerinstances/status",
        "customerinstances/finalizers",
        "namespaces",
        "rolebindings",
    }
