"""A real Kubernetes control plane on this machine, with simulated nodes."""

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, Signals
from types import TracebackType
from typing import Self

from hack.binaries import ensure_binaries
from hack.cluster.client import Client, write_token_kubeconfig
from hack.cluster.configuration import COMPONENTS, PORTS_NEEDED, PROGRAMS, Settings
from hack.cluster.files import ClusterFiles
from hack.cluster.keys import require_readable
from hack.cluster.kwokctl import start_missing, wait_healthy
from hack.cluster.launch import Report, add_nodes, launch
from hack.cluster.status import ComponentStatus, component_statuses
from hack.errors import ClusterError, DamagedDataError
from hack.files import log_tail
from hack.guard import Guard
from hack.lock import FileLock
from hack.paths import cache_root
from hack.ports import PortReservation
from hack.processes import ProcessIdentity, end_programs, find_programs

DEFAULT_NAME = "dev"
# A DNS label, short enough for any path made of it.
NAME_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
# What competes with the operator for the processors; without them the API server only stores.
PAUSABLE = ("kube-controller-manager", "kube-scheduler", "kwok-controller")
VALID_FOR = "24h"
# Seconds; a killed process ends in a fraction of one.
END_TIMEOUT = 5.0


def _silent(_: str) -> None:
    """Report nothing."""


class LocalCluster:
    """One cluster, known by its name below the folder `base` (the user's cache folder by default).

    It listens on PORTS_NEEDED free ports, or on those given by `ports`.

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
        ports: Sequence[int] = (),
        report: Report = _silent,
    ) -> None:
        if not NAME_PATTERN.fullmatch(name):
            raise ClusterError(
                f"cluster name {name!r}: use at most 40 lower-case letters, digits and dashes, "
                "with no dash at either end"
            )
        self.name = name
        self.files = ClusterFiles((base or cache_root()).resolve(), name)
        self._settings = settings or Settings()
        self._report = report
        self._given_ports = ports
        self._lock = FileLock(self.files.lock)
        self._guard: Guard | None = None
        self._ports: PortReservation | None = None

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
        """Every request so far, one JSON object per line; only with `Settings(audit=True)`."""
        return self.files.audit_log

    @property
    def server(self) -> str:
        """The address of the API server."""
        endpoints = self.files.endpoints()
        if not endpoints:
            raise ClusterError(f"cluster {self.name!r} is not running: start it with `make cluster-up`")
        return endpoints["kube-apiserver"]

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
            if find_programs(self.files.programs):
                raise ClusterError(f"cluster {self.name!r} is running already: choose another name or take it down")
            self._guard = self._launch_empty()
        except BaseException:
            self._release()
            raise

    def stop(self) -> None:
        """End the cluster and remove its data; the logs stay."""
        if self._guard:
            self._guard.close()
            self._guard = None
            self.files.discard()
        self._release()

    def up(self) -> bool:
        """Start a cluster that outlives this process; return False when it was running and healthy already.

        One that runs only in part is ended and started again with the objects it has; one that runs gets the nodes
        it lacks.
        """
        self._acquire()
        try:
            if all(status.healthy for status in self.status()):
                add_nodes(self.files, self._settings.nodes, report=self._report)
                return False
            guard = self._launch_again() if self.files.has_data() else self._launch_empty()
            guard.detach()
        finally:
            self._release()
        return True

    def down(self) -> bool:
        """End a cluster that `up` started and remove its data, not its logs; return False when there was none."""
        if not self.files.has_data():
            return False
        self._acquire()
        try:
            end_programs(self.files.programs)
            self.files.discard()
        finally:
            self._release()
        return True

    def status(self) -> list[ComponentStatus]:
        """Return how every component is doing."""
        return component_statuses(self.files)

    def pause(self, names: Iterable[str] = PAUSABLE) -> None:
        """Freeze components (SIGSTOP), by default all but etcd and the API server."""
        self._signal(names, SIGSTOP)

    def resume(self, names: Iterable[str] = PAUSABLE) -> None:
        """Let paused components go on."""
        self._signal(names, SIGCONT)

    def stop_component(self, name: str) -> None:
        """Kill one component, as a crash would; its data and its port are kept for `start_component`."""
        process = self._process(name)
        process.send_signal(SIGKILL)
        process.wait(timeout=END_TIMEOUT)

    def start_component(self, name: str) -> None:
        """Start a component that was stopped, and any other that has ended, on its port; wait until it is healthy."""
        start_missing(self.files)
        with Client(self.kubeconfig) as api:
            wait_healthy(self.files, api, (name,))

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
        token = self.kubectl("create", "token", name, f"--namespace={namespace}", f"--duration={VALID_FOR}")
        user = f"system:serviceaccount:{namespace}:{name}"
        return write_token_kubeconfig(
            path, administrator=self.kubeconfig, user=user, token=token.strip(), namespace=namespace
        )

    def _acquire(self) -> None:
        self.files.create()
        if not self._lock.acquire():
            raise ClusterError(f"cluster {self.name!r} is in use by another process: choose another name, or end it")

    def _release(self) -> None:
        if self._ports:
            self._ports.release()
            self._ports = None
        self._lock.release()

    def _launch_empty(self) -> Guard:
        """Launch a cluster without objects; an attempt that fails leaves nothing but its logs."""
        self.files.discard()
        try:
            return self._launch()
        except BaseException:
            self.files.discard()
            raise

    def _launch_again(self) -> Guard:
        """Launch a cluster that was not running completely, with the objects it had if they can be read."""
        dead = [status.name for status in self.status() if not status.healthy]
        self._report(f"cluster {self.name!r} is incomplete ({', '.join(dead)}): starting it again with its objects")
        end_programs(self.files.programs)
        try:
            require_readable(self.files.pki)
            return self._launch()
        except DamagedDataError as error:
            self._report(f"{error}\nstarting cluster {self.name!r} afresh, without the objects it had")
            return self._launch_empty()

    def _launch(self) -> Guard:
        """Launch on ports that stay ours while this object has them, so that a stopped component gets its own back."""
        programs = ensure_binaries(PROGRAMS)
        self._ports = self._ports or PortReservation(PORTS_NEEDED, given=self._given_ports)
        guard = Guard(self.files.programs)
        try:
            launch(
                self.files,
                settings=self._settings,
                programs=programs,
                ports=self._ports.ports,
                report=self._report,
            )
        except BaseException:
            guard.close()
            raise
        return guard

    def _signal(self, names: Iterable[str], number: Signals) -> None:
        for name in names:
            self._process(name).send_signal(number)

    def _process(self, name: str) -> ProcessIdentity:
        if name not in COMPONENTS:
            raise ClusterError(f"{name!r} is no component: there are {', '.join(COMPONENTS)}")
        process = find_programs(self.files.programs).get(name)
        if process is None:
            raise ClusterError(f"{name} does not run\n{log_tail(self.files.logs / f'{name}.log')}")
        return process
