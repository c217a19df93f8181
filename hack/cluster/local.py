"""A real Kubernetes control plane on this machine, with simulated nodes."""

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from signal import SIGCONT, SIGSTOP, Signals
from types import TracebackType
from typing import Self

from hack.binaries import ensure_binaries
from hack.cluster.api import Client
from hack.cluster.components import PORTS_NEEDED, PROGRAMS, Component
from hack.cluster.files import ClusterFiles
from hack.cluster.kubeconfig import write_kubeconfig
from hack.cluster.launch import Report, Settings, launch, log_tail, start_component, wait_healthy
from hack.cluster.status import ComponentStatus, component_statuses
from hack.errors import ClusterError, DamagedDataError
from hack.lock import FileLock
from hack.paths import cache_root
from hack.processes import end_process
from hack.supervisor.connection import SupervisorConnection
from hack.supervisor.state import ComponentState, read_state

DEFAULT_NAME = "dev"
# A DNS label, short enough for any path made of it.
NAME_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
# What competes with the operator for the processors; without them the API server only stores.
PAUSABLE = ("kube-controller-manager", "kube-scheduler", "kwok")
TOKEN_LIFETIME = 24 * 3600
# The supervisor kills its components and ends in a fraction of a second.
END_GRACE = 5.0


def _silent(_: str) -> None:
    """Report nothing."""


class LocalCluster:
    """One cluster, known by its name below the folder `base` (the user's cache folder by default).

    As a context manager it is a new, empty cluster that ends with the block, and with this process in whatever way
    that ends. `up` starts one that stays, or returns at once when it runs already. All methods block; asynchronous
    code calls them by `asyncio.to_thread`. They raise ClusterError.
    """

    def __init__(
        self,
        name: str = DEFAULT_NAME,
        *,
        base: Path | None = None,
        settings: Settings | None = None,
        report: Report = _silent,
    ) -> None:
        if not NAME_PATTERN.fullmatch(name):
            raise ClusterError(
                f"cluster name {name!r}: use at most 40 lower-case letters, digits and dashes, "
                "with no dash at either end"
            )
        self.name = name
        self.files = ClusterFiles((base or cache_root() / "clusters").absolute() / name)
        self._settings = settings or Settings()
        self._report = report
        self._lock = FileLock(self.files.lock)
        self._connection: SupervisorConnection | None = None
        self._components: dict[str, Component] = {}

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.files.kubeconfig

    @property
    def ca(self) -> Path:
        """The certificate of the authority that signed the API server's certificate."""
        return self.files.pki / "ca.crt"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON object per line; only with `Settings(audit=True)`."""
        return self.files.audit_log

    @property
    def server(self) -> str:
        """The address of the API server."""
        return self._state_of("kube-apiserver").endpoint

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start a new, empty cluster that lives no longer than this process."""
        self._acquire()
        try:
            state = read_state(self.files.state)
            if state and state.supervisor.is_alive():
                raise ClusterError(f"cluster {self.name!r} is running already: choose another name or take it down")
            self._connection = self._launch_empty()
        except BaseException:
            self._lock.release()
            raise

    def stop(self) -> None:
        """End the cluster and remove its data; the logs stay."""
        if self._connection:
            self._connection.close()
            self._connection = None
            self.files.discard_data()
        self._lock.release()

    def up(self) -> bool:
        """Start a cluster that outlives this process; return False when it was running and healthy already.

        One that runs only in part is ended and started again with the objects it has.
        """
        self._acquire()
        try:
            if all(status.healthy for status in self.status()):
                return False
            connection = self._launch_again() if self.files.has_data() else self._launch_empty()
            connection.detach()
        finally:
            self._lock.release()
        return True

    def down(self) -> bool:
        """End a cluster that `up` started and remove its data, not its logs; return False when there was none."""
        if not self.files.has_data():
            return False
        self._acquire()
        try:
            self._end_processes()
            self.files.discard_data()
        finally:
            self._lock.release()
        return True

    def status(self) -> list[ComponentStatus]:
        """Return how every component is doing."""
        return component_statuses(self.files)

    def recorded_settings(self) -> Settings | None:
        """Return the settings the running cluster was started with, None when none runs."""
        state = read_state(self.files.state)
        return Settings(**state.settings) if state else None

    def pause(self, names: Iterable[str] = PAUSABLE) -> None:
        """Freeze components (SIGSTOP), by default all but etcd and the API server."""
        self._signal(names, SIGSTOP)

    def resume(self, names: Iterable[str] = PAUSABLE) -> None:
        """Let paused components go on."""
        self._signal(names, SIGCONT)

    def stop_component(self, name: str) -> None:
        """Kill one component, as a crash would; its data and its port are kept for `start_component`."""
        self._own_connection().stop(name)

    def start_component(self, name: str) -> None:
        """Start a component that was stopped, on the same port, and wait until it is healthy."""
        start_component(self._own_connection(), self._components[name])
        wait_healthy(self.files, self._components, names=(name,))

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess.run calls it
        """Run kubectl as administrator with `input` on its standard input; return its standard output.

        Raises ClusterError with what kubectl wrote to standard error when it fails.
        """
        program = ensure_binaries(("kubectl",))["kubectl"]
        common = [f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.files.directory / 'kubectl-cache'}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "kube"))}
        done = subprocess.run(
            [program, *common, *arguments], input=input, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def service_account_kubeconfig(self, namespace: str, name: str, path: Path) -> Path:
        """Write a kubeconfig for a ServiceAccount, valid for a day and readable by the owner only; return `path`."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_LIFETIME},
        }
        api = Client(self.server, pki=self.files.pki)
        answer = api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", request)
        credentials = {"token": answer["status"]["token"]}
        user = f"system:serviceaccount:{namespace}:{name}"
        return write_kubeconfig(
            path, server=self.server, ca=self.ca, user=user, credentials=credentials, namespace=namespace
        )

    def _acquire(self) -> None:
        self.files.create()
        if not self._lock.acquire():
            raise ClusterError(f"cluster {self.name!r} is in use by another process: choose another name, or end it")

    def _launch_empty(self) -> SupervisorConnection:
        """Launch a cluster without objects; an attempt that fails leaves nothing but its logs."""
        self.files.discard_data()
        try:
            return self._launch()
        except BaseException:
            self.files.discard_data()
            raise

    def _launch_again(self) -> SupervisorConnection:
        """Launch a cluster that was not running completely, with the objects it had if they can be read."""
        dead = [status.name for status in self.status() if not status.healthy]
        self._report(f"cluster {self.name!r} is incomplete ({', '.join(dead)}): starting it again with its objects")
        self._end_processes()
        try:
            return self._launch()
        except DamagedDataError as error:
            self._report(f"{error}\nstarting cluster {self.name!r} afresh, without the objects it had")
            return self._launch_empty()

    def _launch(self) -> SupervisorConnection:
        programs = ensure_binaries(PROGRAMS)
        self.files.create()
        self.files.rotate_logs()
        connection = SupervisorConnection(
            self.files.directory,
            logs=self.files.logs,
            state=self.files.state,
            port_count=PORTS_NEEDED,
            settings=asdict(self._settings),
        )
        try:
            self._components = launch(
                self.files,
                settings=self._settings,
                programs=programs,
                connection=connection,
                report=self._report,
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _end_processes(self) -> None:
        """End the recorded supervisor and whatever it may have left behind, never a stranger with the same pid."""
        state = read_state(self.files.state)
        if state is None:
            return
        end_process(state.supervisor, grace=END_GRACE)
        for component in state.components.values():
            if component.process:
                end_process(component.process, grace=END_GRACE)

    def _signal(self, names: Iterable[str], number: Signals) -> None:
        for name in names:
            process = self._state_of(name).process
            if process is None or not process.send_signal(number):
                raise ClusterError(f"{name} does not run\n{log_tail(self.files, name)}")

    def _state_of(self, name: str) -> ComponentState:
        state = read_state(self.files.state)
        if state is None or name not in state.components:
            raise ClusterError(f"cluster {self.name!r} is not running: start it with `make cluster-up`")
        return state.components[name]

    def _own_connection(self) -> SupervisorConnection:
        if self._connection is None:
            raise ClusterError("only the process that started a cluster can stop and start its components")
        return self._connection
