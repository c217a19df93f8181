"""What the programs of a node are told: nobody without rights gets in, and the machine stays as it is."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster.configuration import NODE_PORT_RANGE, SERVICE_RANGE
from hack.node.addons import MANIFESTS
from hack.node.addresses import DNS_ADDRESS, FRONT_DOOR_PORT
from hack.node.files import NodeFiles
from hack.node.images import ADDON_PROGRAMS, BUSYBOX, PAUSE
from hack.node.machine import network_configuration
from hack.node.pki import KeyPair, NodeIdentity
from hack.node.programs import containerd, kube_proxy_configuration, kubelet_configuration
from hack.platform.install import OVERLAYS
from hack.privileges import unshare_program
from tests.support.pod_security import containers, violations


@pytest.fixture
def files(tmp_path: Path) -> NodeFiles:
    files = NodeFiles(tmp_path, "test")
    files.begin({}, outside=unshare_program())
    return files


@pytest.fixture
def identity() -> NodeIdentity:
    server = KeyPair(certificate=Path("/pki/server.crt"), key=Path("/pki/server.key"))
    return NodeIdentity(
        authority=Path("/pki/ca.crt"),
        kubelet_server=server,
        kubelet_kubeconfig=Path("/pki/kubelet.kubeconfig"),
        proxy_kubeconfig=Path("/pki/kube-proxy.kubeconfig"),
    )


def addons() -> list[dict[str, Any]]:
    return [item for path in sorted(MANIFESTS.glob("*.yaml")) for item in yaml.safe_load_all(path.read_text())]


def pods() -> dict[str, dict[str, Any]]:
    deployments = [item for item in addons() if item["kind"] == "Deployment"]
    return {item["metadata"]["name"]: item["spec"]["template"]["spec"] for item in deployments}


def test_the_kubelet_asks_the_api_server_who_may_do_what(identity: NodeIdentity) -> None:
    told = kubelet_configuration(identity, cgroup="/node-test", resolver=Path("/none"))
    assert told["authentication"]["anonymous"] == {"enabled": False}
    assert told["authorization"] == {"mode": "Webhook"}
    assert told["cgroupRoot"] == "/node-test"


def test_an_image_is_never_removed_for_nothing_could_fetch_it_again(identity: NodeIdentity) -> None:
    told = kubelet_configuration(identity, cgroup="/node-test", resolver=Path("/none"))
    assert told["imageGCHighThresholdPercent"] == 100


def test_connection_tracking_keeps_the_limits_of_the_machine(identity: NodeIdentity) -> None:
    told = kube_proxy_configuration(identity)["conntrack"]
    assert set(told.values()) == {0, "0s"}


def test_containerd_is_told_the_folders_of_the_node_and_nothing_is_left_open(files: NodeFiles) -> None:
    daemon = containerd(files)
    text = (files.configuration / "containerd.toml").read_text(encoding="utf-8")
    told = tomllib.loads(text)["plugins"]
    assert "@" not in str(told)
    assert told["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == PAUSE
    assert told["io.containerd.cri.v1.runtime"]["cni"]["conf_dir"] == str(files.network)
    assert daemon.environment["TMPDIR"] == str(files.temporary)


def test_pods_are_routed_and_not_bridged() -> None:
    plugins: Any = network_configuration()["plugins"]
    assert [plugin["type"] for plugin in plugins] == ["ptp", "portmap"]


def test_pods_find_the_address_of_the_name_service() -> None:
    (service,) = [item for item in addons() if item["metadata"]["name"] == "kube-dns"]
    assert service["spec"]["clusterIP"] == DNS_ADDRESS


def test_the_node_brings_along_every_image_of_its_own_pods() -> None:
    brought = {PAUSE, BUSYBOX, *(f"localhost/{name}:node" for name in ADDON_PROGRAMS)}
    assert {container["image"] for pod in pods().values() for container in containers(pod)} <= brought


@pytest.mark.parametrize("name", sorted(pods()))
def test_the_nodes_own_pods_would_be_admitted_to_a_restricted_namespace(name: str) -> None:
    assert violations(pods()[name]) == []


def test_there_is_one_default_storage_class_and_its_volumes_do_not_grow() -> None:
    (storage_class,) = [item for item in addons() if item["kind"] == "StorageClass"]
    assert storage_class["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert storage_class["allowVolumeExpansion"] is False


def test_the_way_of_devices_is_the_one_that_the_overlay_opens() -> None:
    """Its port is one of the lowest 128, which the API server gives to others last (KEP-3668)."""
    overlay = yaml.safe_load((OVERLAYS / "node" / "kustomization.yaml").read_text(encoding="utf-8"))
    (service,) = [patch["patch"] for patch in overlay["patches"] if patch["target"]["kind"] == "Service"]
    opened = {operation["path"]: operation["value"] for operation in yaml.safe_load(service)}
    literals = {literal for generator in overlay["configMapGenerator"] for literal in generator["literals"]}

    assert opened == {"/spec/type": "NodePort", "/spec/ports/0/nodePort": FRONT_DOOR_PORT}
    assert FRONT_DOOR_PORT - int(NODE_PORT_RANGE.partition("-")[0]) in range(128)
    assert f"ADDRESS_RANGES={SERVICE_RANGE}" in literals


def test_nothing_of_a_node_is_left_but_its_logs(files: NodeFiles) -> None:
    (files.shadow(Path("/var/lib")) / "containerd").mkdir()
    files.discard()
    assert [entry.name for entry in files.directory.iterdir()] == ["logs"]
    assert not files.has_data()
