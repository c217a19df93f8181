"""What kwokctl is told about one cluster: which programs, on which ports, and how they differ from its defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.errors import ClusterError
from hack.versions import read_versions

# Every component kwokctl starts, in the order in which they need each other, with the name of its port's option.
PORTS = {
    "etcd": "etcdPort",
    "kube-apiserver": "kubeApiserverPort",
    "kube-controller-manager": "kubeControllerManagerPort",
    "kube-scheduler": "kubeSchedulerPort",
    "kwok-controller": "kwokControllerPort",
}
COMPONENTS = tuple(PORTS)
# The one that simulates nodes; a real node does without.
SIMULATOR = "kwok-controller"
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "kubectl", "kwokctl")
# etcd needs a second port, for members that this cluster does not have.
PORTS_NEEDED = len(COMPONENTS) + 1

# A million addresses: 1,000 customers have some 7,000 Services, a test of scale may have 50,000.
SERVICE_RANGE = "10.96.0.0/12"
# The first of them is that of the API server itself, as everywhere.
API_SERVICE_ADDRESS = "10.96.0.1"
# The default, 30000-32767, ends at about a thousand customers of two ports each. No simulated node opens any of them.
NODE_PORT_RANGE = "30000-40000"
# A node counts as lost after this long without a lease. Longer than the default of 50 s: a machine that sleeps,
# or a benchmark that pauses kwok, is no node failure.
NODE_GRACE_MILLISECONDS = 300_000
AUDIT_POLICY = Path(__file__).with_name("audit-policy.yaml")


@dataclass(frozen=True)
class Settings:
    """What one cluster is like.

    `nodes` are simulated; `start_delay` is the usual time in seconds their pods take to become Ready; with `audit`
    the API server logs every request (without bodies). Services get their addresses of `service_range`; with one
    within 127.0.0.0/8 whatever listens there on this machine is what is behind them.

    With `node_address` there are no simulated nodes, whatever `nodes` says, and kwok is left out: a real node with this
    address will join, and its pods reach the API server there.
    """

    nodes: int = 4
    start_delay: float = 1.0
    audit: bool = False
    node_address: str = ""
    service_range: str = SERVICE_RANGE

    def __post_init__(self) -> None:
        """Raise ClusterError, naming the field, when no cluster can be like this."""
        if self.nodes < 1:
            raise ClusterError(f"nodes is {self.nodes}: at least one is needed")
        if self.start_delay < 0:
            raise ClusterError(f"start_delay is {self.start_delay}: it is a time in seconds, 0 or more")


def build_configuration(
    directory: Path, *, programs: Mapping[str, Path], ports: Sequence[int], settings: Settings
) -> dict[str, Any]:
    """Return the KwokctlConfiguration of the cluster in `directory`.

    `programs` maps each of PROGRAMS to its executable, `ports` are PORTS_NEEDED free ones.
    """
    options = _options(programs, ports)
    if settings.audit:
        options["kubeAuditPolicy"] = str(AUDIT_POLICY)
    if settings.node_address:
        options |= {"disable": [SIMULATOR], "kubeApiserverCertSANs": [settings.node_address, API_SERVICE_ADDRESS]}
    patches = _patches(directory / "pki", etcd_port=ports[0], peer_port=ports[-1], settings=settings)
    return {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": options,
        "componentsPatches": patches,
    }


def local_url(port: int) -> str:
    """Return the address of a port on this machine; nothing ever listens on another interface."""
    return f"https://127.0.0.1:{port}"


def _options(programs: Mapping[str, Path], ports: Sequence[int]) -> dict[str, Any]:
    return {
        "runtime": "binary",
        "kubeVersion": read_versions()["KUBERNETES_VERSION"],
        "bindAddress": "127.0.0.1",  # the default is every interface
        "securePort": True,
        "disableQPSLimits": True,
        "kubeControllerManagerNodeMonitorGracePeriodMilliseconds": NODE_GRACE_MILLISECONDS,
        "etcdPeerPort": ports[-1],
        **dict(zip(PORTS.values(), ports[:-1], strict=True)),
        **{_binary_option(name): str(programs[name]) for name in PROGRAMS if name != "kwokctl"},
    }


def _patches(pki: Path, *, etcd_port: int, peer_port: int, settings: Settings) -> list[dict[str, Any]]:
    address = settings.node_address
    added = _apiserver(pki, settings) | (_for_real_node(pki, address) if address else _for_simulated_nodes())
    changed = {"etcd-servers": local_url(etcd_port)}
    if address:
        changed["bind-address"] = "0.0.0.0"  # noqa: S104 - every interface of the node's own network
    return [
        _patch("etcd", _etcd(pki), override=_etcd_addresses(etcd_port, peer_port)),
        _patch("kube-apiserver", added, override=changed),
        # Each controller under its own ServiceAccount, as everywhere; kwokctl lets them all be administrators.
        _patch("kube-controller-manager", {"use-service-account-credentials": "true", **_controller(pki)}),
        _patch("kube-scheduler", _controller(pki)),
    ]


def _binary_option(program: str) -> str:
    first, *rest = (program if program != "kwok" else "kwok-controller").split("-")
    return "".join([first, *(part.capitalize() for part in rest), "Binary"])


def _patch(
    component: str, arguments: Mapping[str, str], *, override: Mapping[str, str] | None = None
) -> dict[str, Any]:
    added = [{"key": key, "value": value} for key, value in arguments.items()]
    changed = [{"key": key, "value": value, "override": True} for key, value in (override or {}).items()]
    return {"name": component, "extraArgs": added + changed}


def _etcd_addresses(port: int, peer_port: int) -> dict[str, str]:
    """Return the addresses of etcd, by TLS: kwokctl would let everybody on this machine read every Secret in it."""
    client, peer = local_url(port), local_url(peer_port)
    return {
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"node0={peer}",
    }


def _etcd(pki: Path) -> dict[str, str]:
    tls = {"cert-file": f"{pki}/admin.crt", "key-file": f"{pki}/admin.key", "trusted-ca-file": f"{pki}/ca.crt"}
    return {
        **{f"{prefix}{key}": value for prefix in ("", "peer-") for key, value in tls.items()},
        "client-cert-auth": "true",
        "peer-client-cert-auth": "true",
        "unsafe-no-fsync": "true",  # survives a killed process, not a power cut: enough for a cluster to throw away
        "log-level": "warn",
    }


def _apiserver(pki: Path, settings: Settings) -> dict[str, str]:
    return {
        "etcd-cafile": f"{pki}/ca.crt",
        "etcd-certfile": f"{pki}/admin.crt",
        "etcd-keyfile": f"{pki}/admin.key",
        "service-cluster-ip-range": settings.service_range,
        "service-node-port-range": NODE_PORT_RANGE,
        "anonymous-auth": "false",
    }


def _for_simulated_nodes() -> dict[str, str]:
    # Without these two it looks for the address of a network interface, and fails on a machine with none.
    return {"advertise-address": "127.0.0.1", "endpoint-reconciler-type": "none"}


def _for_real_node(pki: Path, address: str) -> dict[str, str]:
    """Return where pods reach the API server, and how it reaches the kubelet: for logs, exec and port-forward."""
    return {
        "advertise-address": address,
        "kubelet-certificate-authority": f"{pki}/ca.crt",
        "kubelet-client-certificate": f"{pki}/admin.crt",
        "kubelet-client-key": f"{pki}/admin.key",
        "kubelet-preferred-address-types": "InternalIP",
    }


def _controller(pki: Path) -> dict[str, str]:
    return {
        "tls-cert-file": f"{pki}/admin.crt",
        "tls-private-key-file": f"{pki}/admin.key",
        "leader-elect": "false",  # else it ends when it cannot renew its lease: while paused, or without an API server
    }
