"""What the objects may say that the operator writes: its name with every right, so that only the policies remain."""

from collections.abc import Iterator
from typing import Any

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from tests.support.audit import OPERATOR
from tests.support.kubernetes import Kubernetes, omnipotent, order
from tests.support.rights import (
    CLEAN,
    DRY,
    Act,
    Allowed,
    Forbidden,
    assert_refused,
    customers_namespace,
    owner,
    service,
    thing,
    workload,
)

OURS, INSTANCE = naming.namespace_of("objects"), "objects-instance"
FOREIGN = "example.com/backup"
NODE_FILES = {"name": "node", "hostPath": {"path": "/"}}


@pytest.fixture(scope="module")
def access(cluster: LocalCluster) -> Iterator[Kubernetes]:
    """The operator's name with every right, as somebody may grant by mistake."""
    with omnipotent(cluster, OPERATOR) as everything:
        yield everything


@pytest.fixture(scope="module", autouse=True)
def _found(api: Kubernetes) -> Iterator[None]:
    """A namespace with objects that others have spoilt, and an instance that others have marked."""
    api.apply(customers_namespace("objects"))
    api.apply(workload("spoilt", namespace=OURS, volumes=[NODE_FILES]))
    api.apply(workload("postgres", namespace=OURS))
    api.apply(service("spoilt", namespace=OURS, externalIPs=["192.0.2.1"]))
    instance = order(INSTANCE, paused=True)
    instance["metadata"] |= {"labels": {"team": "a"}, "annotations": {"note": "a"}, "finalizers": [FOREIGN]}
    api.create(instance)
    yield
    api.delete("Namespace", OURS)
    api.edit(naming.KIND, INSTANCE, {"op": "remove", "path": "/metadata/finalizers"})
    api.delete(naming.KIND, INSTANCE)


def create(manifest: Manifest) -> Act:
    return lambda access: access.create(manifest, **DRY)


def with_pod(**pod: Any) -> tuple[Manifest, ...]:
    """Return a Deployment and a StatefulSet whose pods differ from clean ones."""
    return tuple(workload("api", kind=kind, namespace=OURS, **pod) for kind in ("Deployment", "StatefulSet"))


def with_security(**security: Any) -> tuple[Manifest, ...]:
    """Return workloads of which a container, or an init container, has this security context beside a clean one."""
    container = {"name": "extra", "image": "example.com/extra:1", "securityContext": {**CLEAN, **security}}
    main = {"name": "main", "image": "example.com/main:1", "securityContext": CLEAN}
    return (*with_pod(containers=[main, container]), *with_pod(initContainers=[container]))


def with_port(**port: Any) -> tuple[Manifest, ...]:
    return with_pod(container={"ports": [{"containerPort": 80, **port}]})


WORKLOADS: dict[str, tuple[tuple[Manifest, ...], str]] = {
    "that mount their node's files": (
        with_pod(volumes=[NODE_FILES]),
        "volumes may be .* nothing else such as hostPath",
    ),
    "that mount a server's files": (
        with_pod(volumes=[{"name": "files", "nfs": {"server": "192.0.2.1", "path": "/"}}]),
        "volumes may be",
    ),
    "in their node's network": (with_pod(hostNetwork=True), "hostNetwork, hostPID and hostIPC must not be set"),
    "among their node's processes": (with_pod(hostPID=True), "hostNetwork, hostPID and hostIPC must not be set"),
    "in their node's memory": (with_pod(hostIPC=True), "hostNetwork, hostPID and hostIPC must not be set"),
    "with privileges": (
        with_security(privileged=True, allowPrivilegeEscalation=True),
        "securityContext.privileged of a container must not be set",
    ),
    "that may gain privileges": (
        with_security(allowPrivilegeEscalation=True),
        "securityContext.allowPrivilegeEscalation of every container must be false",
    ),
    "that say nothing of privileges": (
        with_pod(container={"securityContext": {}}),
        "securityContext.allowPrivilegeEscalation of every container must be false",
    ),
    "with capabilities": (
        with_security(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
        "securityContext.capabilities.add of a container must be empty",
    ),
    "with a port of their node": (with_port(hostPort=8080), "hostPort of a container must not be set"),
    "under another's account": (
        with_pod(serviceAccountName="backup"),
        "serviceAccountName must be the workload's own, api",
    ),
    "called after another's account": (
        tuple(workload("backup", kind=kind, namespace=OURS) for kind in ("Deployment", "StatefulSet")),
        "and that one of postgres, mosquitto, mqtt-exporter, api, dashboard",
    ),
    "under the account of all": (with_pod(serviceAccountName=""), "serviceAccountName must be the workload's own, api"),
}

SERVICES: Forbidden = {
    "that takes an address": (
        create(service("new", namespace=OURS, externalIPs=["192.0.2.1"])),
        "spec.externalIPs of Service new must be empty",
    ),
    "that takes one more address": (
        lambda access: access.patch(
            "Service", "spoilt", {"spec": {"externalIPs": ["192.0.2.1", "192.0.2.2"]}}, namespace=OURS, **DRY
        ),
        "spec.externalIPs of Service spoilt must be empty",
    ),
    "that leads elsewhere": (
        create(service("new", namespace=OURS, type="ExternalName", externalName="metadata.example")),
        "spec.type of Service new must not be ExternalName",
    ),
}


BACKEND = {"service": {"name": "api", "port": {"number": 80}}}


def ingress(*hosts: str, annotations: dict[str, str] | None = None, **spec: Any) -> Manifest:
    """Return an Ingress for these hosts; "" is a rule that names none."""
    paths = {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}}
    rules = [{**({"host": host} if host else {}), **paths} for host in hosts]
    made = thing("Ingress", "web", namespace=OURS, version="networking.k8s.io/v1", spec={"rules": rules, **spec})
    made["metadata"]["annotations"] = annotations or {}
    return made


HOST, SNIPPET = "objects.iotistic.cloud", "nginx.ingress.kubernetes.io/server-snippet"
INGRESSES: Forbidden = {
    "for what nobody answers": (create(ingress(HOST, defaultBackend=BACKEND)), "must name a host"),
    "without a host": (create(ingress(HOST, "")), "must name a host"),
    "for a whole domain": (create(ingress("*.iotistic.cloud")), "must name a host, without a wildcard"),
    "for the platform's own host": (create(ingress(HOST, "billing.iotistic.cloud")), "a host of the platform itself"),
    "with a certificate for the platform's own host": (
        create(ingress(HOST, tls=[{"hosts": [HOST, "billing.iotistic.cloud"], "secretName": "web-tls"}])),
        "spec.tls must name hosts",
    ),
    "with a certificate for a whole domain": (
        create(ingress(HOST, tls=[{"hosts": ["*.iotistic.cloud"], "secretName": "web-tls"}])),
        "spec.tls must name hosts",
    ),
    "with a name for its certificate": (
        create(ingress(HOST, annotations={"cert-manager.io/common-name": "billing.iotistic.cloud"})),
        "must not hold snippets of configuration, or a certificate's name",
    ),
    "with a snippet": (create(ingress(HOST, annotations={SNIPPET: "x"})), "must not hold snippets"),
}


def change(**metadata: Any) -> Act:
    return lambda access: access.patch(naming.KIND, INSTANCE, {"metadata": metadata}, **DRY)


INSTANCES: Forbidden = {
    "order one": (create(order("objects-new")), "may neither create nor delete"),
    "delete one": (lambda access: access.delete(naming.KIND, INSTANCE, **DRY), "may neither create nor delete"),
    "change its spec": (
        lambda access: access.patch(naming.KIND, INSTANCE, {"spec": {"images": {"api": "evil:1"}}}, **DRY),
        "nothing of CustomerInstance objects-instance but its status and its own finalizer: not spec",
    ),
    "add a label": (change(labels={"team": "a", "app.kubernetes.io/managed-by": "billing-api"}), "not metadata.labels"),
    "remove a label": (change(labels={"team": None}), "not metadata.labels"),
    "change an annotation": (change(annotations={"note": "b"}), "not metadata.annotations"),
    "give it an owner": (change(ownerReferences=[owner("other")]), "not metadata.ownerReferences"),
    "add a finalizer of others": (change(finalizers=[FOREIGN, "example.com/more"]), "not the metadata.finalizers"),
    "take off a finalizer of others": (change(finalizers=[naming.FINALIZER]), "not the metadata.finalizers of others"),
}

ALLOWED: Allowed = {
    **{f"write a {kind}": create(workload(kind=kind, namespace=OURS)) for kind in ("Deployment", "StatefulSet")},
    "mount what Pod Security knows": create(
        workload(
            namespace=OURS,
            volumes=[
                {"name": "a", "emptyDir": {}},
                {"name": "b", "secret": {"secretName": "b"}},
                {"name": "c", "configMap": {"name": "c"}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "d"}},
            ],
        )
    ),
    "scale what others have spoilt": lambda access: access.patch(
        "Deployment", "spoilt", {"spec": {"replicas": 1}}, namespace=OURS, **DRY
    ),
    "leave an address that others have added": lambda access: access.apply(
        service("spoilt", namespace=OURS), fieldManager=naming.FIELD_MANAGER, **DRY
    ),
    **{
        f"write a Service of type {kind}": create(service("new", namespace=OURS, type=kind))
        for kind in ("ClusterIP", "NodePort", "LoadBalancer")
    },
    "write an Ingress": create(
        ingress(
            HOST,
            annotations={"cert-manager.io/cluster-issuer": "letsencrypt-prod"},
            tls=[{"hosts": [HOST, f"mqtt.{HOST}"], "secretName": "web-tls"}, {"secretName": "other"}],
        )
    ),
    "write an Ingress for a customer's own host": create(ingress("api.acme.example")),
    "put its finalizer on an instance": change(finalizers=[FOREIGN, naming.FINALIZER]),
    "write its status": lambda access: access.apply(
        {**order(INSTANCE), "status": {"message": "seen"}}, subresource="status", **DRY
    ),
}


@pytest.mark.parametrize(("manifests", "message"), WORKLOADS.values(), ids=WORKLOADS.keys())
def test_the_policy_refuses_workloads(access: Kubernetes, manifests: tuple[Manifest, ...], message: str) -> None:
    for manifest in manifests:
        assert_refused(access, create(manifest), message)


def test_the_policy_refuses_to_spoil_a_workload(access: Kubernetes) -> None:
    spoilt = workload("postgres", namespace=OURS, volumes=[NODE_FILES])
    assert_refused(access, lambda access: access.apply(spoilt, **DRY), "volumes may be")


@pytest.mark.parametrize(("act", "message"), SERVICES.values(), ids=SERVICES.keys())
def test_the_policy_refuses_a_service(access: Kubernetes, act: Act, message: str) -> None:
    assert_refused(access, act, message)


@pytest.mark.parametrize(("act", "message"), INGRESSES.values(), ids=INGRESSES.keys())
def test_the_policy_refuses_an_ingress(access: Kubernetes, act: Act, message: str) -> None:
    assert_refused(access, act, message)


@pytest.mark.parametrize(("act", "message"), INSTANCES.values(), ids=INSTANCES.keys())
def test_the_policy_does_not_let_the_operator_do_this_to_an_instance(
    access: Kubernetes, act: Act, message: str
) -> None:
    assert_refused(access, act, message)


@pytest.mark.parametrize("act", ALLOWED.values(), ids=ALLOWED.keys())
def test_the_policy_lets_the_operator(access: Kubernetes, act: Act) -> None:
    act(access)


def test_a_write_of_status_changes_nothing_else(api: Kubernetes, operator_access: Kubernetes) -> None:
    before = api.get(naming.KIND, INSTANCE)
    wide = {**order(INSTANCE, plan="enterprise"), "status": {"message": "seen"}}
    wide["metadata"]["labels"] = {"team": "b"}
    operator_access.apply(wide, subresource="status")
    after = api.get(naming.KIND, INSTANCE)
    assert after["status"]["message"] == "seen"
    assert (after["spec"], after["metadata"]["labels"]) == (before["spec"], before["metadata"]["labels"])
