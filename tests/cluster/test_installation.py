"""What a platform installs: operator and billing API as pods that are admitted under the restricted profile."""

import base64
from collections.abc import Iterator
from itertools import product
from urllib.parse import urlsplit

import pytest
import yaml

from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from hack.platform import install
from hack.platform.install import OVERLAYS
from tests.support.kubernetes import Kubernetes
from tests.support.netpol import Endpoint, allows
from tests.support.pod_security import containers

SECRETS = ("billing-api", "billing-postgres", "license-signing-keys")
WORKLOADS = {
    ("Deployment", "iotistic-system", "customer-operator"),
    ("Deployment", "billing", "billing-api"),
    ("StatefulSet", "billing", "billing-postgres"),
    ("Deployment", "mqtt-router", "mqtt-router"),
}
PROGRAMS = ("customer-operator", "billing-api")
PORTS = [(port, "TCP") for port in (22, 53, 80, 443, 3100, 5432, 6443, 8080, 9187, 10250)] + [(53, "UDP"), (443, "UDP")]


def _pod(name: str, address: str, namespace: str, labels: dict[str, str] | None = None) -> Endpoint:
    given = labels or {"app.kubernetes.io/name": name}
    return Endpoint(name=name, address=address, namespace=namespace, labels=given)


POINTS = [
    _pod("customer-operator", "10.244.0.2", "iotistic-system"),
    _pod("billing-api", "10.244.0.3", "billing"),
    _pod("billing-postgres", "10.244.0.4", "billing"),
    _pod("ingress", "10.244.0.5", "ingress"),
    _pod("monitoring", "10.244.0.6", "monitoring"),
    _pod("dns", "10.244.0.7", "kube-system", {"k8s-app": "kube-dns"}),
    # One that calls itself as another does, elsewhere.
    _pod("tenant", "10.244.0.8", "customer-acme", {"app.kubernetes.io/name": "billing-api", "k8s-app": "kube-dns"}),
    Endpoint(name="within", address="10.0.0.1"),
    Endpoint(name="internet", address="198.51.100.7"),
    Endpoint(name="metadata", address="169.254.169.254"),
]


@pytest.fixture(scope="module")
def installed(cluster: LocalCluster) -> Iterator[list[Manifest]]:
    """What overlay node consists of, installed; its programs go with the module."""
    install(cluster, report=lambda _: None)
    yield list(yaml.safe_load_all(cluster.kubectl("kustomize", str(OVERLAYS / "node"))))
    for folder in ("operator", "billing-api", "billing-postgres", "mqtt-router"):
        cluster.kubectl("delete", "--kustomize", str(OVERLAYS.parent / "base" / folder), "--ignore-not-found")
    cluster.kubectl("delete", "secret", *SECRETS, "--namespace", "billing")


def test_every_program_is_admitted_and_becomes_ready(installed: list[Manifest], api: Kubernetes) -> None:
    """Pod Security refuses pods, not their Deployments: only a pod that is there was admitted."""
    for kind, namespace, name in sorted(WORKLOADS):
        live = api.wait_for(kind, name, _is_complete, namespace=namespace)
        assert live["status"]["readyReplicas"] == live["spec"]["replicas"]


def _is_complete(live: Manifest | None) -> bool:
    return live is not None and live.get("status", {}).get("readyReplicas") == live["spec"]["replicas"]


def test_no_pod_may_write_its_root_or_run_as_root(installed: list[Manifest]) -> None:
    pods = [item["spec"]["template"]["spec"] for item in installed if item["kind"] in {"Deployment", "StatefulSet"}]
    found = [(pod, container) for pod in pods for container in containers(pod)]

    assert len(pods) == len(WORKLOADS)
    assert all(pod["securityContext"]["runAsNonRoot"] for pod in pods)
    assert all({**pod["securityContext"], **container["securityContext"]}["runAsUser"] for pod, container in found)
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for _, container in found)
    assert all({"requests", "limits"} <= container["resources"].keys() for _, container in found)


def test_no_secret_value_is_in_the_manifests(installed: list[Manifest]) -> None:
    """What is secret is only referred to."""
    assert not [item for item in installed if item["kind"] == "Secret"]
    config = [item["data"] for item in installed if item["kind"] == "ConfigMap" and "data" in item]
    assert config
    assert not [key for data in config for key in data if "SECRET" in key or "PASSWORD" in key or key == "DATABASE_URL"]


def test_installing_again_keeps_every_secret(installed: list[Manifest], cluster: LocalCluster, api: Kubernetes) -> None:
    """The database was set up with its password, and the licenses are signed with the key."""
    before = {name: api.get("Secret", name, namespace="billing") for name in SECRETS}

    install(cluster, report=lambda _: None)

    assert {name: api.get("Secret", name, namespace="billing") for name in SECRETS} == before


@pytest.mark.parametrize("lost", [SECRETS[:1], SECRETS[1:2], SECRETS[2:], SECRETS[:2]], ids="+".join)
def test_what_was_left_half_done_is_completed_and_nothing_of_it_is_made_anew(
    lost: tuple[str, ...], installed: list[Manifest], cluster: LocalCluster, api: Kubernetes
) -> None:
    def live() -> dict[str, Manifest]:
        return {name: api.get("Secret", name, namespace="billing") for name in SECRETS}

    before = live()
    cluster.kubectl("delete", "secret", *lost, "--namespace", "billing")

    install(cluster, report=lambda _: None)

    after = live()
    assert {name for name in SECRETS if after[name] != before[name]} == set(lost)
    url, password = (
        base64.b64decode(after[name]["data"][key]).decode()
        for name, key in (("billing-api", "DATABASE_URL"), ("billing-postgres", "POSTGRES_PASSWORD"))
    )
    assert urlsplit(url).password == password


@pytest.mark.parametrize("overlay", ["node", "production"])
def test_an_overlay_changes_no_right_and_no_policy(cluster: LocalCluster, overlay: str) -> None:
    """kustomize follows names: one that a Role's resourceNames share with something generated becomes another."""
    base = yaml.safe_load_all(cluster.kubectl("kustomize", str(OVERLAYS.parent / "base")))
    rendered = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(OVERLAYS / overlay))))
    assert [item for item in base if item not in rendered] == []


def flows(policies: list[Manifest], points: list[Endpoint]) -> set[str]:
    """Every connection from or to the platform's programs that is let out at one end and in at the other."""
    return {
        f"{source.name} -> {target.name}:{port}/{protocol}"
        for source, target, (port, protocol) in product(points, points, PORTS)
        if source is not target
        and {source.namespace, target.namespace} & {"billing", "iotistic-system"}
        and allows(policies, source=source, target=target, port=port, protocol=protocol)
    }


@pytest.mark.parametrize(
    ("overlay", "api_servers", "databases"),
    [
        # What no policy binds may be the API server: only its ports are known.
        ("node", ["dns", "ingress", "monitoring", "tenant", "within", "internet", "metadata"], ["billing-postgres"]),
        (
            "production",
            ["dns", "ingress", "monitoring", "tenant", "within"],
            ["within", "dns", "ingress", "monitoring", "tenant"],
        ),
    ],
)
def test_no_connection_of_the_platforms_programs_is_allowed_but_these(
    cluster: LocalCluster, overlay: str, api_servers: list[str], databases: list[str]
) -> None:
    rendered = yaml.safe_load_all(cluster.kubectl("kustomize", str(OVERLAYS / overlay)))
    policies = [item for item in rendered if item["kind"] == "NetworkPolicy"]
    points = POINTS if overlay == "node" else [point for point in POINTS if point.name != "billing-postgres"]

    assert flows(policies, points) == {
        "ingress -> billing-api:3100/TCP",
        "monitoring -> billing-api:3100/TCP",
        "monitoring -> customer-operator:8080/TCP",
        *(f"{name} -> dns:53/{protocol}" for name in PROGRAMS for protocol in ("TCP", "UDP")),
        *(f"{name} -> {target}:{port}/TCP" for name in PROGRAMS for target in api_servers for port in (443, 6443)),
        *(f"billing-api -> {target}:5432/TCP" for target in databases),
    }


@pytest.mark.parametrize("overlay", ["node", "production"])
def test_the_operator_alone_may_come_to_the_front_door_as_devices_do(cluster: LocalCluster, overlay: str) -> None:
    rendered = yaml.safe_load_all(cluster.kubectl("kustomize", str(OVERLAYS / overlay)))
    policies = [item for item in rendered if item["kind"] == "NetworkPolicy"]
    router = _pod("mqtt-router", "10.244.0.9", "mqtt-router")
    points = [*POINTS, router]

    assert {
        f"{source.name} -> {target.name}"
        for source, target in product((point for point in points if point.name in PROGRAMS), points)
        if source is not target and allows(policies, source=source, target=target, port=8883)
    } == {"customer-operator -> mqtt-router"}


def test_the_production_overlay_is_accepted_as_it_is(cluster: LocalCluster) -> None:
    cluster.kubectl(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--warnings-as-errors",
        "--kustomize",
        str(OVERLAYS / "production"),
    )
