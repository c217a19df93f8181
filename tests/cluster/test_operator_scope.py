"""Where the operator may write, and as whom: its name with every right there is, so that only the policies remain."""

from collections.abc import Iterator

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from tests.support.audit import OPERATOR
from tests.support.kubernetes import Kubernetes, omnipotent, order
from tests.support.rights import (
    DRY,
    LEVELS,
    Act,
    Allowed,
    Forbidden,
    account,
    assert_refused,
    binding,
    customers_namespace,
    owner,
    thing,
    workload,
)

OURS = naming.namespace_of("scope")
HOME = naming.OPERATOR_NAMESPACE
ENFORCE, VERSION = "pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/enforce-version"
NO_MARKS = {naming.INSTANCE_LABEL: None, naming.CUSTOMER_LABEL: None}
AUTHORITY = thing("Secret", naming.AUTHORITY_SECRET, namespace=HOME)


@pytest.fixture(scope="module")
def access(cluster: LocalCluster) -> Iterator[Kubernetes]:
    """The operator's name with every right, as somebody may grant by mistake."""
    with omnipotent(cluster, OPERATOR) as everything:
        yield everything


@pytest.fixture(scope="module", autouse=True)
def _found(api: Kubernetes) -> Iterator[None]:
    """What there is before the operator acts: namespaces by what is left of its marks, owned by what really is."""
    instance = api.create(order("scope-owner", paused=True))["metadata"]["uid"]
    others = {"apiVersion": "v1", "kind": "Namespace", **_named(api.get("Namespace", "billing"))}
    namespaces = [
        customers_namespace("scope"),
        thing("Namespace", "customer-scope-nobody"),
        customers_namespace(
            "scope-disguise",
            labels=NO_MARKS | {naming.INSTANCE_LABEL: "scope-owner"},
            owners=[owner("scope-owner", uid=instance), others],
        ),
        customers_namespace("scope-label", labels={naming.CUSTOMER_LABEL: None}),
        customers_namespace("scope-customer", labels={naming.INSTANCE_LABEL: None}),
        customers_namespace("scope-owner", labels=NO_MARKS, owners=[owner("scope-owner", uid=instance)]),
        customers_namespace("scope-pinned", labels={VERSION: "v1.36"}, owners=[others]),
    ]
    within = [binding(namespace=OURS), thing("ServiceAccount", "api", namespace=OURS)]
    for manifest in (*namespaces, *within):
        api.apply(manifest)
    if api.find("ConfigMap", "mqtt-routes-00", namespace=ROUTER) is None:
        api.create(thing("ConfigMap", "mqtt-routes-00", namespace=ROUTER))
    if api.find("Secret", naming.AUTHORITY_SECRET, namespace=HOME) is None:
        api.create(AUTHORITY)  # an operator of another test may have made it already
    yield
    for manifest in namespaces:
        api.delete("Namespace", manifest["metadata"]["name"])
    api.delete(naming.KIND, "scope-owner")


def _named(live: Manifest) -> Manifest:
    return {key: live["metadata"][key] for key in ("name", "uid")}


def lease(name: str, namespace: str) -> Manifest:
    return thing("Lease", name, namespace=namespace, version="coordination.k8s.io/v1")


def apply(manifest: Manifest, **params: str) -> Act:
    """Return the apply by the operator's own field manager, which leaves alone what others have written."""
    return lambda access: access.apply(manifest, fieldManager=naming.FIELD_MANAGER, **DRY, **params)


def create(manifest: Manifest) -> Act:
    return lambda access: access.create(manifest, **DRY)


def label(namespace: str, key: str, value: str | None) -> Act:
    patch = {"metadata": {"labels": {key: value}}}
    return lambda access: access.patch("Namespace", namespace, patch, **DRY)


def with_labels(**labels: str | None) -> Act:
    return create(customers_namespace("fresh", labels=labels))


def with_owners(*owners: Manifest) -> Act:
    return create(customers_namespace("fresh", owners=list(owners)))


OUTSIDE = "the operator may write only into namespaces customer-\\*, iotistic-system and mqtt-router, not into "
AT_HOME = "may create and update only its Lease customer-operator and its Secret mqtt-ca, not "
AT_THE_ROUTERS = "may create and update only the ConfigMaps mqtt-routes-00 to mqtt-routes-0f, not "
ROUTER = "mqtt-router"
NAMELESS = {**customers_namespace("scope"), "metadata": {"generateName": "customer-", "labels": LEVELS}}

TOKEN = thing("Secret", namespace=OURS, type="kubernetes.io/service-account-token")
TOKEN["metadata"]["annotations"] = {"kubernetes.io/service-account.name": "api"}

PLACES: Forbidden = {
    "a ConfigMap in kube-system": (apply(thing("ConfigMap", namespace="kube-system")), OUTSIDE + "namespace kube-sys"),
    "a Secret in kube-system": (apply(thing("Secret", namespace="kube-system")), OUTSIDE + "namespace kube-system"),
    "a RoleBinding in kube-system": (apply(binding(namespace="kube-system")), OUTSIDE + "namespace kube-system"),
    "a Secret of the billing API": (apply(thing("Secret", namespace="billing")), OUTSIDE + "namespace billing"),
    "a namespace of another name": (apply(thing("Namespace", "other")), OUTSIDE + "namespace other"),
    "its own namespace": (apply(thing("Namespace", HOME)), OUTSIDE + "namespace iotistic-system"),
    "a right in the whole cluster": (apply(binding("ClusterRoleBinding")), OUTSIDE + "the cluster scope"),
    "the end of a namespace of another name": (
        lambda access: access.delete("Namespace", "billing", **DRY),
        OUTSIDE + "namespace billing",
    ),
    "another Secret of its own namespace": (create(thing("Secret", namespace=HOME)), AT_HOME + "CREATE secrets probe"),
    "another Lease of its own namespace": (create(lease("other", HOME)), AT_HOME + "CREATE leases.coord"),
    "a ConfigMap in its own namespace": (create(thing("ConfigMap", "mqtt-ca", namespace=HOME)), AT_HOME + "CREATE con"),
    "its binding in its own namespace": (create(binding(namespace=HOME)), AT_HOME + "CREATE rolebindings"),
    "the router's namespace itself": (label(ROUTER, ENFORCE, "privileged"), OUTSIDE + "namespace mqtt-router"),
    "the router's configuration": (
        apply(thing("ConfigMap", "haproxy", namespace=ROUTER)),
        AT_THE_ROUTERS + "CREATE configmaps haproxy",
    ),
    "a shard too many": (
        create(thing("ConfigMap", "mqtt-routes-10", namespace=ROUTER)),
        AT_THE_ROUTERS + "CREATE configmaps mqtt-routes-10",
    ),
    "a shard whose name the server finds": (
        create(
            {**thing("ConfigMap", namespace=ROUTER), "metadata": {"generateName": "mqtt-routes-", "namespace": ROUTER}}
        ),
        AT_THE_ROUTERS + "CREATE configmaps mqtt-routes-",
    ),
    "a Secret of the router's": (
        create(thing("Secret", "mqtt-routes-00", namespace=ROUTER)),
        AT_THE_ROUTERS + "CREATE secrets mqtt-routes-00",
    ),
    "the end of a shard": (
        lambda access: access.delete("ConfigMap", "mqtt-routes-00", namespace=ROUTER, **DRY),
        AT_THE_ROUTERS + "DELETE configmaps mqtt-routes-00",
    ),
    "the end of the authority": (
        lambda access: access.delete("Secret", naming.AUTHORITY_SECRET, namespace=HOME, **DRY),
        AT_HOME + "DELETE secrets mqtt-ca",
    ),
    "a Lease of a customer's namespace": (create(lease("x", OURS)), "may not write leases.coordination.k8s.io"),
    "a workload of another kind": (
        create(workload(kind="ReplicaSet", namespace=OURS)),
        "may not write replicasets.apps",
    ),
    "a Role": (
        create(thing("Role", namespace=OURS, version="rbac.authorization.k8s.io/v1")),
        "may not write roles.rbac.authorization.k8s.io",
    ),
    "a Secret in a namespace that is nobody's": (
        create(thing("Secret", namespace="customer-scope-nobody")),
        "namespace customer-scope-nobody is no instance's.*kubectl label namespace customer-scope-nobody",
    ),
    "its binding in a namespace that is nobody's": (
        create(binding(namespace="customer-scope-disguise")),
        "namespace customer-scope-disguise is no instance's",
    ),
    "a command in a pod": (
        lambda access: access.post("Pod", "postgres-0", "exec", namespace=OURS),
        "no subresource but customerinstances/status, not pods/exec of postgres-0",
    ),
    "the console of a pod": (lambda access: access.post("Pod", "p", "attach", namespace=OURS), "not pods/attach of p"),
    "a port of a pod": (
        lambda access: access.post("Pod", "p", "portforward", namespace=OURS),
        "not pods/portforward of p",
    ),
    "a request through a Service": (
        lambda access: access.post("Service", "s", "proxy", namespace=OURS),
        "not services/proxy of s",
    ),
    "a token of a customer's account": (
        lambda access: access.post(
            "ServiceAccount",
            "api",
            "token",
            namespace=OURS,
            body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        ),
        "not serviceaccounts/token of api",
    ),
    "a Secret that gets such a token": (create(TOKEN), "must not be kubernetes.io/service-account-token"),
    "the status of a namespace": (
        apply(thing("Namespace", OURS, status={"phase": "Active"}), subresource="status"),
        "not namespaces/status",
    ),
}

NAMESPACES: Forbidden = {
    "without enforcement": (with_labels(**{ENFORCE: None}), "must set .* to restricted"),
    "with little enforcement": (with_labels(**{ENFORCE: "baseline"}), "must set .* to restricted"),
    "without warnings": (with_labels(**{"pod-security.kubernetes.io/warn": None}), "must set .* to restricted"),
    "without audit": (with_labels(**{"pod-security.kubernetes.io/audit": "privileged"}), "must set .* to restricted"),
    "enforced as it was long ago": (with_labels(**{VERSION: "v1.0"}), "none of the labels pod-security"),
    "without the instance's label": (with_labels(**{naming.INSTANCE_LABEL: None}), "must be fresh"),
    "with another instance's label": (with_labels(**{naming.INSTANCE_LABEL: "other"}), "must be fresh"),
    "owned by another instance": (with_owners(owner("other")), "may get one owner, the CustomerInstance fresh"),
    "owned by another kind": (with_owners(owner("fresh", kind="Node")), "may get one owner"),
    "owned by another group": (
        with_owners(owner("fresh", apiVersion="iotistic.cloud.example/v1")),
        "may get one owner",
    ),
    "owned twice": (
        with_owners(owner("fresh", controller=False), owner("fresh", uid="0b9e6f0e-0000-4000-8000-000000000001")),
        "may get one owner",
    ),
    "whose name is found by the server": (create(NAMELESS), "namespace customer-[a-z0-9]+ must be"),
    "taken over": (
        apply(customers_namespace("scope-nobody")),
        "exists and is no instance's.*kubectl label namespace customer-scope-nobody iotistic.cloud/instance=scope",
    ),
    "taken over from a disguise": (apply(customers_namespace("scope-disguise")), "exists and is no instance's"),
    "deleted though nobody's": (
        lambda access: access.delete("Namespace", "customer-scope-nobody", **DRY),
        "exists and is no instance's",
    ),
    "opened": (label(OURS, ENFORCE, "privileged"), "must set .* to restricted"),
    "loosened": (label(OURS, VERSION, "v1.0"), "none of the labels pod-security"),
    "loosened though pinned": (label("customer-scope-pinned", VERSION, "v1.0"), "none of the labels pod-security"),
    "given to another instance": (label(OURS, naming.INSTANCE_LABEL, "other"), "must be scope"),
    "given another owner": (apply(customers_namespace("scope", owners=[owner("other")])), "may get one owner"),
}

_OTHER = account("default", OURS)
BINDINGS: Forbidden = {
    "of another name": (create(binding(name="other", namespace=OURS)), "is customer-operator-tenant, not other"),
    "of another role": (
        create(binding(role="cluster-admin", namespace="customer-scope-label")),
        "must be ClusterRole customer-operator-tenant, not ClusterRole cluster-admin",
    ),
    "of a role of the namespace": (
        create(binding(role_kind="Role", namespace="customer-scope-label")),
        "must be ClusterRole customer-operator-tenant, not Role",
    ),
    "for somebody else": (apply(binding(subjects=[_OTHER], namespace=OURS)), "subjects of a RoleBinding"),
    "for somebody else too": (apply(binding(subjects=[account(), _OTHER], namespace=OURS)), "subjects of a Role"),
    "for a namesake": (apply(binding(subjects=[account(namespace=OURS)], namespace=OURS)), "subjects of a Role"),
    "for a user of its name": (
        apply(binding(subjects=[account() | {"kind": "User"}], namespace=OURS)),
        "subjects of a Role",
    ),
    "for nobody": (apply(binding(subjects=[], namespace=OURS)), "subjects of a RoleBinding"),
    "no more": (
        lambda access: access.delete("RoleBinding", naming.TENANT_ROLE, namespace=OURS, **DRY),
        "may delete no RoleBinding",
    ),
}

ALLOWED: Allowed = {
    "create a namespace that an instance owns": with_owners(owner("fresh")),
    "create a namespace without an owner": with_labels(),
    "write an instance's namespace": apply(customers_namespace("scope", owners=[owner("scope")])),
    "put back the customer's label": apply(customers_namespace("scope-label")),
    "put back the instance's label": apply(customers_namespace("scope-customer")),
    "put back both labels, by the owner": apply(customers_namespace("scope-owner")),
    "leave the version and the owner of others": apply(
        customers_namespace("scope-pinned", owners=[owner("scope-pinned", controller=False)])
    ),
    "delete an instance's namespace": lambda access: access.delete("Namespace", OURS, **DRY),
    "bind itself": create(binding(namespace="customer-scope-label")),
    "bind itself once more": apply(binding(namespace=OURS)),
    "work where one label is left": create(thing("Secret", namespace="customer-scope-customer")),
    "delete in an instance's namespace": lambda access: access.delete("ServiceAccount", "api", namespace=OURS, **DRY),
    "write its Lease": lambda access: access.patch(
        "Lease", "customer-operator", {"metadata": {"labels": {"probe": "yes"}}}, namespace=HOME, **DRY
    ),
    "publish the first routes": apply(thing("ConfigMap", "mqtt-routes-00", namespace=ROUTER)),
    "publish the last routes": apply(thing("ConfigMap", "mqtt-routes-0f", namespace=ROUTER)),
    "write the authority": lambda access: access.patch(
        "Secret", naming.AUTHORITY_SECRET, {"metadata": {"labels": {"probe": "yes"}}}, namespace=HOME, **DRY
    ),
}


@pytest.mark.parametrize(("act", "message"), PLACES.values(), ids=PLACES.keys())
def test_the_policy_keeps_from_the_operator(access: Kubernetes, act: Act, message: str) -> None:
    assert_refused(access, act, message)


@pytest.mark.parametrize(("act", "message"), NAMESPACES.values(), ids=NAMESPACES.keys())
def test_the_policy_refuses_a_namespace(access: Kubernetes, act: Act, message: str) -> None:
    assert_refused(access, act, message)


@pytest.mark.parametrize(("act", "message"), BINDINGS.values(), ids=BINDINGS.keys())
def test_the_policy_refuses_a_binding(access: Kubernetes, act: Act, message: str) -> None:
    assert_refused(access, act, message)


@pytest.mark.parametrize("act", ALLOWED.values(), ids=ALLOWED.keys())
def test_the_policy_lets_the_operator(access: Kubernetes, act: Act) -> None:
    act(access)
