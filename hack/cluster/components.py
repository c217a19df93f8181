"""The processes of one cluster: which there are, and how each is called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.files import ClusterFiles

SERVICE_RANGE = "10.96.0.0/12"
POD_RANGE = "10.244.0.0/16"
ISSUER = "https://kubernetes.default.svc.cluster.local"
# The clients of controller-manager and scheduler default to 20 and 30 requests per second, far below what one
# API server takes; on a developer's machine the limit would only slow the tests down.
CLIENT_RATE = ("--kube-api-qps=1000", "--kube-api-burst=2000")
# A node counts as lost after this long without a lease. Longer than the default of 50 s: a machine that sleeps,
# or a benchmark that pauses kwok, is no node failure.
NODE_GRACE_PERIOD = "5m"
LEASE_SECONDS = 40

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
# etcd needs a second port, for members that this cluster does not have.
PORTS_NEEDED = len(PROGRAMS) + 1


@dataclass(frozen=True)
class Component:
    """One process: the program's arguments (the program itself first), where it listens, where it tells its health."""

    name: str
    arguments: tuple[str, ...]
    port: int
    health_path: str

    @property
    def endpoint(self) -> str:
        """The base address, `https://127.0.0.1:PORT`."""
        return local_url(self.port)


def local_url(port: int) -> str:
    """Return the address of a port on this machine; nothing ever listens on another interface."""
    return f"https://127.0.0.1:{port}"


def build_components(
    files: ClusterFiles, *, programs: Mapping[str, Path], ports: Sequence[int], audit: bool
) -> dict[str, Component]:
    """Return the components by name, in the order in which they need each other.

    `programs` maps each name to its executable, `ports` holds PORTS_NEEDED free ports.
    """
    port = dict(zip(PROGRAMS, ports[: len(PROGRAMS)], strict=True))
    arguments = {
        "etcd": _etcd(files, port=port["etcd"], peer_port=ports[len(PROGRAMS)]),
        "kube-apiserver": _apiserver(files, port=port["kube-apiserver"], etcd_port=port["etcd"], audit=audit),
        "kube-controller-manager": _controller_manager(files, port=port["kube-controller-manager"]),
        "kube-scheduler": _scheduler(files, port=port["kube-scheduler"]),
        "kwok": _kwok(files, port=port["kwok"]),
    }
    health = {"etcd": "/health", "kube-apiserver": "/readyz"}
    return {
        name: Component(
            name=name,
            arguments=(str(programs[name]), *arguments[name]),
            port=port[name],
            health_path=health.get(name, "/healthz"),
        )
        for name in PROGRAMS
    }


def component_kubeconfig(files: ClusterFiles, name: str) -> Path:
    """Return where the kubeconfig of the component `name` is kept."""
    return files.pki / f"{name}.kubeconfig"


def _etcd(files: ClusterFiles, *, port: int, peer_port: int) -> list[str]:
    pki, client, peer = files.pki, local_url(port), local_url(peer_port)
    return [
        "--name=local",
        f"--data-dir={files.etcd}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=local={peer}",
        f"--cert-file={pki}/etcd.crt",
        f"--key-file={pki}/etcd.key",
        "--client-cert-auth",
        f"--trusted-ca-file={pki}/etcd-ca.crt",
        f"--peer-cert-file={pki}/etcd.crt",
        f"--peer-key-file={pki}/etcd.key",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={pki}/etcd-ca.crt",
        "--unsafe-no-fsync",  # survives a killed process, not a power cut: enough for a cluster to throw away
        "--log-level=warn",
    ]


def _apiserver(files: ClusterFiles, *, port: int, etcd_port: int, audit: bool) -> list[str]:
    pki = files.pki
    return [
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        # Without these two it looks for the address of a network interface, and fails on a machine with none.
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={pki}/kube-apiserver.crt",
        f"--tls-private-key-file={pki}/kube-apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--etcd-servers={local_url(etcd_port)}",
        f"--etcd-cafile={pki}/etcd-ca.crt",
        f"--etcd-certfile={pki}/etcd-client.crt",
        f"--etcd-keyfile={pki}/etcd-client.key",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki}/service-account.pub",
        f"--service-account-signing-key-file={pki}/service-account.key",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--profiling=false",
        *(_audit(files) if audit else []),
    ]


def _audit(files: ClusterFiles) -> list[str]:
    return [f"--audit-policy-file={files.audit_policy}", f"--audit-log-path={files.audit_log}"]


def _secure_serving(files: ClusterFiles, *, port: int) -> list[str]:
    return [
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={files.pki}/component.crt",
        f"--tls-private-key-file={files.pki}/component.key",
        "--profiling=false",
    ]


def _api_client(files: ClusterFiles, name: str) -> list[str]:
    kubeconfig = component_kubeconfig(files, name)
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        *CLIENT_RATE,
    ]


def _controller_manager(files: ClusterFiles, *, port: int) -> list[str]:
    pki = files.pki
    return [
        *_secure_serving(files, port=port),
        *_api_client(files, "kube-controller-manager"),
        "--controllers=*",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki}/service-account.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        f"--node-monitor-grace-period={NODE_GRACE_PERIOD}",
    ]


def _scheduler(files: ClusterFiles, *, port: int) -> list[str]:
    return [*_secure_serving(files, port=port), *_api_client(files, "kube-scheduler")]


def _kwok(files: ClusterFiles, *, port: int) -> list[str]:
    return [
        f"--kubeconfig={component_kubeconfig(files, 'kwok')}",
        f"--config={files.stages}",
        f"--cidr={POD_RANGE}",
        f"--server-address=127.0.0.1:{port}",
        f"--tls-cert-file={files.pki}/component.crt",
        f"--tls-private-key-file={files.pki}/component.key",
        "--manage-all-nodes=true",
        f"--node-lease-duration-seconds={LEASE_SECONDS}",
    ]
