"""The start of a cluster: files, processes in parallel where they allow it, then nodes and storage class."""

import http.client
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.api import Client, is_healthy
from hack.cluster.certificates import write_pki
from hack.cluster.components import Component, build_components, component_kubeconfig
from hack.cluster.files import ClusterFiles
from hack.cluster.kubeconfig import certificate_credentials, write_kubeconfig
from hack.cluster.nodes import build_node, build_storage_class, is_schedulable
from hack.cluster.stages import render_stages
from hack.errors import ClusterError, DamagedDataError
from hack.files import write_private
from hack.supervisor.connection import SupervisorConnection
from hack.supervisor.state import read_state

# About ten seconds on two idle cores; several clusters may be starting at once on a busy machine.
START_TIMEOUT = 180.0
POLL_INTERVAL = 0.05
LOG_LINES_SHOWN = 15
AUDIT_POLICY = Path(__file__).with_name("audit-policy.yaml")

Report = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What one cluster is like.

    `nodes` are simulated; `start_delay` is the usual time in seconds their pods take to become Ready; with `audit`
    the API server logs every request (without bodies).
    """

    nodes: int = 4
    start_delay: float = 1.0
    audit: bool = False

    def __post_init__(self) -> None:
        """Raise ClusterError, naming the field, when no cluster can be like this."""
        if self.nodes < 1:
            raise ClusterError(f"nodes is {self.nodes}: at least one is needed")
        if self.start_delay < 0:
            raise ClusterError(f"start_delay is {self.start_delay}: it is a time in seconds, 0 or more")


def launch(
    files: ClusterFiles,
    *,
    settings: Settings,
    programs: Mapping[str, Path],
    connection: SupervisorConnection,
    report: Report,
) -> dict[str, Component]:
    """Start every component and wait until all are healthy and pods can be scheduled; return them by name.

    Raises ClusterError with the end of the log when a component ends or is not ready in START_TIMEOUT seconds,
    DamagedDataError when that may be the fault of what is left of an earlier cluster.
    """
    components = build_components(files, programs=programs, ports=connection.ports, audit=settings.audit)
    write_configuration(files, settings=settings, server=components["kube-apiserver"].endpoint)
    report("starting etcd and kube-apiserver")
    for name in ("etcd", "kube-apiserver"):  # the API server waits for etcd by itself
        start_component(connection, components[name])
    wait_healthy(files, components, names=("etcd", "kube-apiserver"))
    report("starting kube-controller-manager, kube-scheduler and kwok")
    others = ("kube-controller-manager", "kube-scheduler", "kwok")
    for name in others:
        start_component(connection, components[name])
    api = Client(components["kube-apiserver"].endpoint, pki=files.pki)
    _create_infrastructure(api, nodes=settings.nodes)
    wait_healthy(files, components, names=others)
    report(f"waiting for {settings.nodes} nodes")
    _wait(files, lambda: _is_usable(api), names=tuple(components), purpose="schedulable nodes")
    return components


def start_component(connection: SupervisorConnection, component: Component) -> None:
    """Have the supervisor start one component."""
    connection.start(
        component.name,
        arguments=component.arguments,
        endpoint=component.endpoint,
        health_path=component.health_path,
    )


def write_configuration(files: ClusterFiles, *, settings: Settings, server: str) -> None:
    """Write certificates, kubeconfigs and the configuration files of the components."""
    try:
        write_pki(files.pki)
    except ValueError as error:
        raise DamagedDataError(f"the keys in {files.pki} cannot be read: {error}") from error
    for name in ("kube-controller-manager", "kube-scheduler", "kwok"):
        _write_client(files, component_kubeconfig(files, name), name=name, server=server)
    _write_client(files, files.kubeconfig, name="admin", server=server)
    write_private(files.stages, render_stages(start_delay=settings.start_delay))
    write_private(files.audit_policy, AUDIT_POLICY.read_bytes())


def wait_healthy(files: ClusterFiles, components: Mapping[str, Component], *, names: tuple[str, ...]) -> None:
    """Wait until the named components say they are healthy; raises ClusterError as `launch` does."""

    def all_healthy() -> bool:
        return all(
            is_healthy(name, endpoint=component.endpoint, health_path=component.health_path, pki=files.pki)
            for name in names
            if (component := components[name])
        )

    _wait(files, all_healthy, names=names, purpose=" and ".join(names))


def log_tail(files: ClusterFiles, name: str) -> str:
    """Return the last lines a component has logged, and where the log is."""
    path = files.logs / f"{name}.log"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return "\n".join([f"the end of {path}:", *(f"  {line}" for line in lines[-LOG_LINES_SHOWN:])])


def _write_client(files: ClusterFiles, path: Path, *, name: str, server: str) -> None:
    credentials = certificate_credentials(files.pki, name)
    write_kubeconfig(path, server=server, ca=files.pki / "ca.crt", user=name, credentials=credentials)


def _create_infrastructure(api: Client, *, nodes: int) -> None:
    api.create("/apis/storage.k8s.io/v1/storageclasses", build_storage_class())
    for number in range(1, nodes + 1):
        api.create("/api/v1/nodes", build_node(number))


def _is_usable(api: Client) -> bool:
    """Tell whether pods can be created and placed: every node takes them, the first ServiceAccount exists."""
    try:
        nodes = api.read("/api/v1/nodes")["items"]
        accounts = api.read("/api/v1/namespaces/default/serviceaccounts")["items"]
    except (OSError, http.client.HTTPException):
        return False
    return bool(accounts) and all(is_schedulable(node) for node in nodes)


def _wait(files: ClusterFiles, condition: Callable[[], bool], *, names: tuple[str, ...], purpose: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not condition():
        _raise_when_ended(files, names)
        if time.monotonic() > deadline:
            tails = "\n".join(log_tail(files, name) for name in names)
            raise ClusterError(f"waited {START_TIMEOUT:.0f} s for {purpose}\n{tails}")
        time.sleep(POLL_INTERVAL)


def _raise_when_ended(files: ClusterFiles, names: tuple[str, ...]) -> None:
    state = read_state(files.state)
    if state is None:
        raise ClusterError(f"the supervisor has ended\n{log_tail(files, 'supervisor')}")
    for name in names:
        if name in state.components and not state.components[name].alive:
            code = state.components[name].exit_code
            kind = DamagedDataError if name == "etcd" else ClusterError
            raise kind(f"{name} ended with exit code {code}\n{log_tail(files, name)}")
