"""What the operator and the billing API may do under their own names, and above all what they may not."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from customer_operator import naming
from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from hack.paths import PROJECT_ROOT
from tests.support.audit import OPERATOR
from tests.support.kubernetes import Kubernetes, Refused, omnipotent, order

BASE = PROJECT_ROOT / "manifests" / "base"
POLICY = r"the operator may write only into namespaces customer-\* and iotistic-system, not into "


def thing(
    kind: str, name: str = "probe", *, namespace: str | None = None, version: str = "v1", **rest: Any
) -> Manifest:
    home = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **home}, **rest}


def binding(kind: str = "RoleBinding", *, role: str = naming.TENANT_ROLE, namespace: str | None = None) -> Manifest:
    account, home = naming.OPERATOR_SERVICE_ACCOUNT, naming.OPERATOR_NAMESPACE
    return thing(
        kind,
        namespace=namespace,
        version="rbac.authorization.k8s.io/v1",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        subjects=[{"kind": "ServiceAccount", "name": account, "namespace": home}],
    )


# -- the policy: whatever roles may say --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def omnipotent_operator(cluster: LocalCluster) -> Iterator[Kubernetes]:
    """The operator's name with every right there is, as somebody may grant by mistake: what remains is the policy."""
    with omnipotent(cluster, OPERATOR) as access:
        yield access


OUTSIDE = {
    "a ConfigMap in kube-system": (thing("ConfigMap", namespace="kube-system"), "namespace kube-system"),
    "a Secret in kube-system": (thing("Secret", namespace="kube-system"), "namespace kube-system"),
    "a RoleBinding in kube-system": (binding(namespace="kube-system"), "namespace kube-system"),
    "a Secret of the billing API": (thing("Secret", namespace="billing"), "namespace billing"),
    "a namespace of another name": (thing("Namespace", "other"), "namespace other"),
    "its own namespace": (thing("Namespace", naming.OPERATOR_NAMESPACE), "namespace iotistic-system"),
    "a right in the whole cluster": (binding("ClusterRoleBinding"), "the cluster scope"),
}


@pytest.mark.parametrize(("manifest", "place"), OUTSIDE.values(), ids=OUTSIDE.keys())
def test_the_policy_keeps_the_operator_from_writing(
    omnipotent_operator: Kubernetes, manifest: Manifest, place: str
) -> None:
    with pytest.raises(Refused, match=POLICY + place) as refused:
        omnipotent_operator.apply(manifest, dryRun="All")
    assert refused.value.status == 403


def test_the_policy_keeps_the_operator_from_deleting(omnipotent_operator: Kubernetes) -> None:
    with pytest.raises(Refused, match=POLICY + "namespace billing"):
        omnipotent_operator.delete("Namespace", "billing", dryRun="All")


def test_the_policy_lets_the_operator_work_where_it_shall(omnipotent_operator: Kubernetes) -> None:
    for manifest in (thing("Namespace", "customer-probe"), thing("Secret", namespace=naming.OPERATOR_NAMESPACE)):
        omnipotent_operator.apply(manifest, dryRun="All")


# -- the roles: with the operator's own token --------------------------------------------------------------------------

FORBIDDEN: dict[str, tuple[Callable[[Kubernetes], object], str]] = {
    "bind itself in kube-system": (lambda access: access.create(binding(namespace="kube-system")), POLICY),
    "create a namespace of another name": (lambda access: access.create(thing("Namespace", "other")), POLICY),
    "write a ConfigMap into kube-system": (
        lambda access: access.create(thing("ConfigMap", namespace="kube-system")),
        'cannot create resource "configmaps"',
    ),
    "write a Secret into kube-system": (
        lambda access: access.create(thing("Secret", namespace="kube-system")),
        'cannot create resource "secrets"',
    ),
    "read a Secret of the billing API": (
        lambda access: access.get("Secret", "stripe", namespace="billing"),
        'cannot get resource "secrets"',
    ),
    "read all Secrets": (lambda access: access.items("Secret"), 'cannot list resource "secrets"'),
    "read Secrets where it is not bound": (
        lambda access: access.items("Secret", namespace="customer-unbound"),
        'cannot list resource "secrets"',
    ),
    "bind another role": (
        lambda access: access.create(binding(role="cluster-admin", namespace="customer-unbound")),
        "attempting to grant RBAC permissions not currently held",
    ),
    "change the role it binds": (
        lambda access: access.patch("ClusterRole", naming.TENANT_ROLE, {"rules": []}),
        'cannot patch resource "clusterroles"',
    ),
    "delete an instance": (lambda access: access.delete(naming.KIND, "any"), 'cannot delete resource "customerinst'),
    "order an instance": (lambda access: access.create(order("any")), 'cannot create resource "customerinst'),
}


@pytest.fixture(scope="module")
def unbound(api: Kubernetes) -> Iterator[None]:
    """A namespace of the right name that is no instance's."""
    api.create(thing("Namespace", "customer-unbound"))
    yield
    api.delete("Namespace", "customer-unbound")


@pytest.mark.usefixtures("unbound")
@pytest.mark.parametrize(("act", "message"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_the_operator_may_not(operator_access: Kubernetes, act: Callable[[Kubernetes], object], message: str) -> None:
    with pytest.raises(Refused, match=message) as refused:
        act(operator_access)
    assert refused.value.status == 403


def standing_rights(access: Kubernetes) -> set[tuple[str, str]]:
    """Return (resource, verb) of all rights in a namespace that is nobody's, but for asking about oneself."""
    review = thing("SelfSubjectRulesReview", version="authorization.k8s.io/v1", spec={"namespace": "default"})
    rules = access.create(review)["status"]["resourceRules"]
    about_oneself = {"authorization.k8s.io", "authentication.k8s.io"}
    return {
        (resource, verb)
        for rule in rules
        if not about_oneself & set(rule["apiGroups"])
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_operator_has_no_standing_right_on_secrets_and_only_looks_at_workloads(operator_access: Kubernetes) -> None:
    rights = standing_rights(operator_access)
    assert {verb for resource, verb in rights if resource in ("deployments", "statefulsets")} == {"list", "watch"}
    assert not {resource for resource, _ in rights} & {"secrets", "pods", "pods/exec", "configmaps", "*"}
    assert {resource for resource, verb in rights if verb in ("create", "patch", "update", "delete")} == {
        "customerinstances",
        "customerinstances/status",
        "customerinstances/finalizers",
        "namespaces",
        "rolebindings",
    }


def test_the_billing_api_touches_instances_and_nothing_else(cluster: LocalCluster, tmp_path: Path) -> None:
    kubeconfig = cluster.service_account_kubeconfig("billing", "billing-api", tmp_path / "kubeconfig")
    with Kubernetes(kubeconfig) as access:
        verbs = {"get", "list", "watch", "create", "patch"}
        assert standing_rights(access) == {("customerinstances", verb) for verb in verbs}
        access.apply(order("ordered"), dryRun="All")
        with pytest.raises(Refused, match='cannot patch resource "customerinstances/status"'):
            access.apply({**order("ordered"), "status": {"phase": "Ready"}}, subresource="status")
        with pytest.raises(Refused, match='cannot delete resource "customerinstances"'):
            access.delete(naming.KIND, "any")


def test_no_role_has_a_wildcard() -> None:
    documents = [document for path in BASE.glob("*.yaml") for document in yaml.safe_load_all(path.read_text())]
    roles = [document for document in documents if document["kind"] in ("Role", "ClusterRole")]
    assert {role["metadata"]["name"] for role in roles} == {"billing-api", "customer-operator", naming.TENANT_ROLE}
    listed = [values for role in roles for rule in role["rules"] for values in rule.values()]
    assert not [values for values in listed if "*" in values]
