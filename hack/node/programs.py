"""What containerd, kubelet and kube-proxy are told, and how they are started."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hack.binaries.node import NETWORK_PLUGINS
from hack.node.addresses import CLUSTER_DOMAIN, DNS_ADDRESS, NODE_ADDRESS, NODE_NAME, POD_RANGE
from hack.node.files import NodeFiles
from hack.node.images import PAUSE
from hack.node.pki import NodeIdentity

RUNTIME_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", *NETWORK_PLUGINS)
PROGRAMS = (*RUNTIME_PROGRAMS, "kubelet", "kube-proxy")
RUNTIME_SOCKET = Path("/run/containerd/containerd.sock")
CONTAINERD = Path(__file__).with_name("containerd.toml")
KUBELET_PORT = 10250


@dataclass(frozen=True)
class Daemon:
    """A program of the node that always runs; its output goes to its log."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def containerd(files: NodeFiles) -> Daemon:
    """Write the configuration of the container runtime, and return how to start it."""
    placeholders = {"@PAUSE@": PAUSE, "@PROGRAMS@": str(files.programs), "@NETWORK@": str(files.network)}
    text = CONTAINERD.read_text(encoding="utf-8")
    for placeholder, value in placeholders.items():
        text = text.replace(placeholder, value)
    path = files.configuration / "containerd.toml"
    path.write_text(text, encoding="utf-8")
    command = [str(files.programs / "containerd"), "--config", str(path)]
    return Daemon(name="containerd", command=command, environment=_environment(files))


def kubelet(files: NodeFiles, identity: NodeIdentity) -> Daemon:
    """Write the configuration of the kubelet, and return how to start it."""
    told = kubelet_configuration(identity, cgroup=files.cgroup, resolver=files.resolver)
    path = _write(files, "kubelet.yaml", told)
    options = {
        "config": path,
        "kubeconfig": identity.kubelet_kubeconfig,
        "hostname-override": NODE_NAME,
        "node-ip": NODE_ADDRESS,
    }
    command = [str(files.programs / "kubelet"), *(f"--{name}={value}" for name, value in options.items())]
    return Daemon(name="kubelet", command=command, environment=_environment(files))


def kube_proxy(files: NodeFiles, identity: NodeIdentity) -> Daemon:
    """Write the configuration of kube-proxy, and return how to start it."""
    path = _write(files, "kube-proxy.yaml", kube_proxy_configuration(identity))
    command = [str(files.programs / "kube-proxy"), f"--config={path}"]
    return Daemon(name="kube-proxy", command=command, environment=_environment(files))


def kubelet_configuration(identity: NodeIdentity, *, cgroup: str, resolver: Path) -> dict[str, Any]:
    """Return the KubeletConfiguration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "port": KUBELET_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(identity.authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(identity.kubelet_server.certificate),
        "tlsPrivateKeyFile": str(identity.kubelet_server.key),
        "containerRuntimeEndpoint": f"unix://{RUNTIME_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(resolver),
        # A machine may be one that lets nobody be safer than others; it says so every few minutes otherwise.
        "oomScoreAdj": 0,
        # The machine's disk and memory are its users' affair; and an image that is gone could not be fetched again.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        # A test waits for these; a node of a thousand others would not like them as short.
        "nodeStatusUpdateFrequency": "4s",
        "syncFrequency": "10s",
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
    }


def kube_proxy_configuration(identity: NodeIdentity) -> dict[str, Any]:
    """Return the KubeProxyConfiguration; it leaves the limits of connection tracking, which is the machine's, alone."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(identity.proxy_kubeconfig)},
        "hostnameOverride": NODE_NAME,
        "clusterCIDR": POD_RANGE,
        "mode": "iptables",
        "oomScoreAdj": 0,
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
            "udpTimeout": "0s",
            "udpStreamTimeout": "0s",
        },
    }


def _write(files: NodeFiles, name: str, content: dict[str, Any]) -> Path:
    path = files.configuration / name
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def _environment(files: NodeFiles) -> dict[str, str]:
    """Return a clean environment: no proxy, the programs first, temporary files below the node's own folder."""
    path = os.pathsep.join(
        [str(files.programs), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    )
    return {"PATH": path, "HOME": str(files.directory), "TMPDIR": str(files.temporary)}
