"""The front door for MQTT as a platform installs it: admitted, ready, with its own rights and ways and no others."""

from collections.abc import Iterator
from itertools import product

import pytest
import yaml

from customer_operator import naming
from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from hack.paths import PROJECT_ROOT
from tests.support.kubernetes import Kubernetes, Refused
from tests.support.netpol import Endpoint, allows
from tests.support.rights import standing_rights

FOLDER = PROJECT_ROOT / "manifests" / "base" / "mqtt-router"
NAMESPACE = NAME = "mqtt-router"
PORTS = [(port, "TCP") for port in (53, 80, 443, 1883, 5432, 6443, 8080, 8404, 8883, 9001)] + [(53, "UDP")]
CUSTOMERS = {"app.kubernetes.io/managed-by": "customer-operator"}


def _customers(component: str, address: str) -> Endpoint:
    labels = {"app.kubernetes.io/component": component}
    return Endpoint(
        name=component, address=address, namespace="customer-acme", labels=labels, namespace_labels=CUSTOMERS
    )


POINTS = [
    Endpoint(name="router", address="10.244.0.2", namespace=NAMESPACE, labels={"app.kubernetes.io/name": NAME}),
    _customers("mosquitto", "10.244.0.3"),
    _customers("postgres", "10.244.0.4"),
    Endpoint(name="monitoring", address="10.244.0.5", namespace="monitoring"),
    Endpoint(name="dns", address="10.244.0.6", namespace="kube-system", labels={"k8s-app": "kube-dns"}),
    # One that calls itself a broker, elsewhere.
    Endpoint(
        name="pretender", address="10.244.0.7", namespace="x", labels={"app.kubernetes.io/component": "mosquitto"}
    ),
    Endpoint(name="device", address="198.51.100.7"),
]
# The API server is no pod, so that any address may be it.
ANYWHERE = {f"router -> {point.name}:{port}/TCP" for point in POINTS for port in (443, 6443)}


@pytest.fixture(scope="module")
def rendered(cluster: LocalCluster) -> list[Manifest]:
    return list(yaml.safe_load_all(cluster.kubectl("kustomize", str(FOLDER))))


@pytest.fixture(scope="module")
def installed(cluster: LocalCluster) -> Iterator[None]:
    cluster.kubectl("apply", "--server-side", "--kustomize", str(FOLDER))
    yield
    cluster.kubectl("delete", "--kustomize", str(FOLDER), "--ignore-not-found")


def pod_of(rendered: list[Manifest]) -> Manifest:
    deployment = next(item for item in rendered if item["kind"] == "Deployment")
    return dict(deployment["spec"]["template"]["spec"])


@pytest.mark.usefixtures("installed")
def test_both_replicas_are_admitted_and_become_ready(api: Kubernetes) -> None:
    """The namespace enforces the profile `restricted` of Pod Security."""
    live = api.wait_for(
        "Deployment", NAME, lambda found: bool(found and found["status"].get("readyReplicas") == 2), namespace=NAMESPACE
    )

    assert live["spec"]["template"]["spec"]["initContainers"][0]["restartPolicy"] == "Always"


def test_the_router_reads_its_config_maps_and_nothing_else(
    cluster: LocalCluster, api: Kubernetes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("router") / "kubeconfig"
    with Kubernetes(cluster.service_account_kubeconfig(NAMESPACE, NAME, path)) as access:
        assert standing_rights(access, namespace=NAMESPACE) == {
            ("configmaps", "get"),
            ("configmaps", "list"),
            ("configmaps", "watch"),
        }
        assert standing_rights(access) == set()
        with pytest.raises(Refused, match="forbidden"):
            access.items("ConfigMap", namespace=naming.OPERATOR_NAMESPACE)


def test_only_the_program_that_asks_the_api_server_has_a_token(rendered: list[Manifest]) -> None:
    pod = pod_of(rendered)
    mounts = {
        container["name"]: {mount["name"] for mount in container["volumeMounts"]}
        for container in pod["initContainers"] + pod["containers"]
    }

    assert pod["automountServiceAccountToken"] is False
    assert mounts == {"router": {"run", "token", "tmp"}, "haproxy": {"run", "haproxy"}}


def test_no_container_may_do_more_than_it_must(rendered: list[Manifest]) -> None:
    pod = pod_of(rendered)

    for container in pod["initContainers"] + pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert context["runAsUser"] > 0
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= container["resources"].keys()


def test_devices_may_stay_until_the_drain_is_over(rendered: list[Manifest]) -> None:
    pod = pod_of(rendered)
    settings = next(
        item["data"] for item in rendered if item["kind"] == "ConfigMap" and "ROUTER_DRAIN" in (item.get("data") or {})
    )
    (haproxy,) = pod["containers"]

    drain, before = int(settings["ROUTER_DRAIN"].removesuffix("s")), haproxy["lifecycle"]["preStop"]["sleep"]["seconds"]

    # kube-proxy's default syncPeriod, after which it repeats what it could not do; and a second for the change itself.
    assert before > 30 + 1
    assert pod["terminationGracePeriodSeconds"] > before + drain


def test_the_network_lets_devices_in_and_lets_out_to_brokers_alone(rendered: list[Manifest]) -> None:
    policies = [item for item in rendered if item["kind"] == "NetworkPolicy"]
    found = {
        f"{source.name} -> {target.name}:{port}/{protocol}"
        for source, target, (port, protocol) in product(POINTS, POINTS, PORTS)
        if source is not target
        and "router" in (source.name, target.name)
        and allows(policies, source=source, target=target, port=port, protocol=protocol)
    }

    assert found - ANYWHERE == {
        "router -> mosquitto:8883/TCP",
        "router -> dns:53/TCP",
        "router -> dns:53/UDP",
        *(f"{point.name} -> router:8883/TCP" for point in POINTS if point.name != "router"),
        "monitoring -> router:8080/TCP",
        "monitoring -> router:8404/TCP",
    }
