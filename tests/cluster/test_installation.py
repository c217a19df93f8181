"""What a platform installs: operator and billing API as pods that are admitted under the restricted profile."""

import base64
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import yaml

from customer_operator.naming import Manifest
from hack.cluster import LocalCluster
from hack.platform import install
from hack.platform.install import OVERLAYS
from tests.support.kubernetes import Kubernetes

SECRETS = ("billing-api", "billing-postgres", "license-signing-keys")
WORKLOADS = {
    ("Deployment", "iotistic-system", "customer-operator"),
    ("Deployment", "billing", "billing-api"),
    ("StatefulSet", "billing", "billing-postgres"),
}


@pytest.fixture(scope="module")
def installed(cluster: LocalCluster) -> Iterator[list[Manifest]]:
    """What overlay node consists of, installed; its programs go with the module."""
    install(cluster, report=lambda _: None)
    yield list(yaml.safe_load_all(cluster.kubectl("kustomize", str(OVERLAYS / "node"))))
    for folder in ("operator", "billing-api", "billing-postgres"):
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
    containers = [container for pod in pods for container in pod["containers"]]

    assert len(pods) == len(WORKLOADS)
    assert all(pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] for pod in pods)
    assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in containers)
    assert all({"requests", "limits"} <= container["resources"].keys() for container in containers)


def test_no_secret_value_is_in_the_manifests(installed: list[Manifest]) -> None:
    """What is secret is only referred to."""
    assert not [item for item in installed if item["kind"] == "Secret"]
    config = [item["data"] for item in installed if item["kind"] == "ConfigMap" and "data" in item]
    assert config
    assert not [key for data in config for key in data if "SECRET" in key or "PASSWORD" in key or "DATABASE" in key]


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


def test_the_production_overlay_is_accepted_as_it_is(cluster: LocalCluster) -> None:
    cluster.kubectl(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--warnings-as-errors",
        "--kustomize",
        str(OVERLAYS / "production"),
    )
