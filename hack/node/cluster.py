"""A real node on this machine, from the outside: started, used and ended by tools and tests."""

import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast

from hack.binaries import ensure_binaries
from hack.binaries.node import read_node_catalogue
from hack.cluster import PROGRAMS as CONTROL_PLANE_PROGRAMS
from hack.cluster import LocalCluster
from hack.errors import NodeError
from hack.files import log_tail
from hack.lock import FileLock
from hack.node import cgroups, messages
from hack.node.addresses import LOOPBACK
from hack.node.files import NodeFiles
from hack.node.namespaces import nsenter_command, process_namespace, python_command, wait_for_end
from hack.node.requirements import missing_requirements
from hack.node.runtime import import_image
from hack.paths import PROJECT_ROOT, cache_root
from hack.privileges import unshare_program
from hack.processes import end_programs, find_commands, find_programs

DEFAULT_NAME = "dev"
KEEPER = "hack.node.keeper"
# Seconds; it waits itself for the end of the node, and for that of the last process in its control groups.
KEEPER_PATIENCE = 45.0
Report = Callable[[str], None]


def ensure_programs() -> dict[str, Path]:
    """Return every program that a node and its control plane consist of, by name; see `ensure_binaries`."""
    catalogue = read_node_catalogue()
    return {**ensure_binaries(CONTROL_PLANE_PROGRAMS), **ensure_binaries(catalogue, catalogue=catalogue)}


class NodeCluster:
    """A control plane and one real node, known by its name below the folder `base` (the user's cache folder).

    As a context manager it is a new, empty cluster that ends with the block, and with this process in whatever way
    that ends; `up` starts one that stays. All methods block and raise HackError.
    """

    def __init__(
        self,
        name: str = DEFAULT_NAME,
        *,
        base: Path | None = None,
        audit: bool = False,
        report: Report = lambda _: None,
    ) -> None:
        self.files = NodeFiles((base or cache_root()).resolve(), name)
        # From here it is only looked at: whoever runs it is within the node's namespaces.
        self.control_plane = LocalCluster(name, base=self.files.control_plane.base)
        self._audit = audit
        self._report = report
        self._lock = FileLock(self.files.lock)
        self._keeper: subprocess.Popen[str] | None = None

    @property
    def name(self) -> str:
        """The name of cluster and node."""
        return self.files.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, right outside and inside."""
        return self.control_plane.kubeconfig

    @property
    def entrances(self) -> dict[str, int]:
        """The ports of this machine by which the Ingress controller (`http`, `https`) and devices (`mqtts`) get in."""
        return self.files.entrances()

    @property
    def front_door(self) -> tuple[str, int]:
        """Host and port on this machine where devices come in, once the product is installed."""
        return LOOPBACK, self.entrances["mqtts"]

    @property
    def holder(self) -> int:
        """The process that holds the node's namespaces; NodeError when the node does not run."""
        process = find_programs(self.files.outside).get("unshare")
        if process is None:
            raise NodeError(f"node {self.name!r} is not running: start it with `make node-up NAME={self.name}`")
        return process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start a new, empty node that lives no longer than this process."""
        self._acquire()
        try:
            if self.is_running():
                raise NodeError(f"node {self.name!r} is running already: choose another name or take it down")
            self._keeper = self._launch()
        except BaseException:
            self._lock.release()
            raise

    def stop(self) -> None:
        """End the node and remove its data; the logs stay."""
        if self._keeper:
            self._keeper.communicate()
            self._keeper = None
            self._remove()
        self._lock.release()

    def up(self) -> bool:
        """Start a node that outlives this process; return False when it was running already.

        Of one that has crashed nothing is taken over.
        """
        self._acquire()
        try:
            if self.is_running():
                return False
            _detach(self._launch())
        finally:
            self._lock.release()
        return True

    def down(self) -> bool:
        """End a node that `up` started and remove its data, not its logs; return False when there was none."""
        if not self.files.has_data():
            return False
        self._acquire()
        try:
            self._remove()
        finally:
            self._lock.release()
        return True

    def is_running(self) -> bool:
        """Tell whether the node's namespaces are there, and so the processes within."""
        return "unshare" in find_programs(self.files.outside)

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess.run calls it
        """Run kubectl as administrator; see `LocalCluster.kubectl`."""
        return self.control_plane.kubectl(*arguments, input=input)

    def service_account_kubeconfig(self, namespace: str, name: str, path: Path) -> Path:
        """Write a kubeconfig for a ServiceAccount; see `LocalCluster.service_account_kubeconfig`."""
        return self.control_plane.service_account_kubeconfig(namespace, name, path)

    def load_images(self, archives: Iterable[Path]) -> None:
        """Give the node the images of docker-archives; a pod finds them by the names they are tagged with."""
        ctr = nsenter_command(self.holder, [str(self.files.programs / "ctr")])
        for path in archives:
            with path.open("rb") as archive:
                import_image(ctr, archive)

    @contextmanager
    def reach(self, namespace: str, service: str, port: int) -> Iterator[tuple[str, int]]:
        """Yield host and port on this machine by which a Service is reached, for as long as the block lasts."""
        path = "--output=jsonpath={.spec.clusterIP}"
        address = self.kubectl("get", "service", service, "--namespace", namespace, path)
        command = python_command("hack.node.relay", str(self.holder), address, str(port))
        with subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal reaches this process only
        ) as relay:
            said = relay.stdout.readline() if relay.stdout else ""
            if not said:
                raise NodeError(f"the relay to {service} ended with exit code {relay.wait()}")
            try:
                yield LOOPBACK, int(said)
            finally:
                relay.communicate()

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return how to run a command in the node's namespaces, as root on the node itself."""
        return nsenter_command(self.holder, command)

    def _acquire(self) -> None:
        self.files.lock.parent.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire():
            raise NodeError(f"node {self.name!r} is in use by another process: choose another name, or end it")

    def _launch(self) -> "subprocess.Popen[str]":
        """Start a keeper, and return it when the node is ready; an attempt that fails leaves nothing but its logs."""
        if missing := missing_requirements():
            raise NodeError(missing)
        self._remove()
        self.files.begin(ensure_programs(), outside=unshare_program())
        log = self.files.logs / "keeper.log"
        arguments = (str(self.files.base), self.name, *(["audit"] if self._audit else []))
        with log.open("ab") as errors:
            keeper = subprocess.Popen(
                python_command(KEEPER, *arguments),
                cwd=PROJECT_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C in the terminal reaches this process only
            )
        try:
            self._await_ready(cast("IO[str]", keeper.stdout))
        except BaseException:
            keeper.communicate()
            self._remove()
            raise
        return keeper

    def _await_ready(self, told: IO[str]) -> None:
        for kind, text in messages.messages(told):
            if kind == messages.READY:
                return
            if kind == messages.FAILED:
                raise NodeError(text)
            self._report(text)
        raise NodeError(f"the node has ended before it was ready\n{log_tail(self.files.logs / 'keeper.log')}")

    def _remove(self) -> None:
        """End whatever runs, and remove all that is left, but the logs."""
        running = find_programs(self.files.outside).get("unshare")
        processes = process_namespace(running.pid) if running else ""
        end_programs(self.files.outside)
        self._await_keepers()
        wait_for_end(processes)
        cgroups.remove(self.files.cgroup)
        self.files.discard()

    def _await_keepers(self) -> None:
        """Wait for the end of a keeper whose node has ended: it would remove the control group of the next one."""
        own = python_command(KEEPER, str(self.files.base), self.name)[1:]
        for keeper in find_commands(own):
            if not keeper.wait(timeout=KEEPER_PATIENCE):
                raise NodeError(f"the keeper of node {self.name!r}, process {keeper.pid}, does not end")


def _detach(keeper: "subprocess.Popen[str]") -> None:
    """Let the keeper, and so the node, outlive this process."""
    cast("IO[str]", keeper.stdin).write(messages.DETACH.decode())
    cast("IO[str]", keeper.stdin).close()
    cast("IO[str]", keeper.stdout).close()
    keeper.returncode = 0  # nobody waits for it any more
