"""Makes a node within new namespaces and keeps it running: `python -m hack.node.supervisor BASE NAME PORT...`.

It ends with its standard input, and everything in the node with it.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hack.binaries import ensure_binaries
from hack.binaries.node import read_node_catalogue
from hack.cluster import LocalCluster, Settings
from hack.cluster.kwokctl import dead_components, start_missing
from hack.errors import HackError, NodeError
from hack.files import log_tail
from hack.node import cgroups, messages
from hack.node.addons import install_addons
from hack.node.addresses import NODE_ADDRESS
from hack.node.daemons import Daemons
from hack.node.files import NodeFiles
from hack.node.images import write_images
from hack.node.machine import prepare
from hack.node.pki import issue_identity
from hack.node.programs import RUNTIME_SOCKET, containerd, kube_proxy, kubelet
from hack.node.runtime import import_image

# Seconds; generous, for a machine may be building something at the same time.
PATIENCE = 180.0
POLL_INTERVAL = 0.1
# How often to look whether a component of the control plane has ended.
CONTROL_PLANE_INTERVAL = 2.0


class Supervisor:
    """One node from the inside."""

    def __init__(self, files: NodeFiles, *, ports: Sequence[int], audit: bool) -> None:
        self._files = files
        settings = Settings(audit=audit, node_address=NODE_ADDRESS)
        plane = files.control_plane
        self._cluster = LocalCluster(files.name, base=plane.base, settings=settings, ports=ports, report=_report_step)
        self._record = (files.logs / "supervisor.log").open("a", encoding="utf-8")
        self._daemons = Daemons(logs=files.logs, record=self._record)

    def start(self) -> None:
        """Start everything; raises HackError."""
        prepare(self._files)
        with ThreadPoolExecutor(max_workers=1) as pool:
            # The images need no API server, and the API server no images.
            images = pool.submit(self._start_runtime)
            self._cluster.start()
            images.result()
        _report_step("starting kubelet and kube-proxy")
        identity = issue_identity(
            self._files.pki, control_plane_pki=self._files.control_plane.pki, server=self._server()
        )
        self._daemons.start(kubelet(self._files, identity))
        self._daemons.start(kube_proxy(self._files, identity))
        install_addons(self._cluster, report=_report_step)

    def run(self) -> None:
        """Keep everything running until the end of the standard input."""
        while self._daemons.watch(sys.stdin, timeout=CONTROL_PLANE_INTERVAL):
            plane = self._files.control_plane
            if dead := dead_components(plane):
                self._record.write(f"{', '.join(dead)} ended, and is started again\n")
                self._record.flush()
                try:
                    start_missing(plane)
                except HackError as error:
                    self._record.write(f"{error}\n")

    def _start_runtime(self) -> None:
        programs = ensure_binaries(read_node_catalogue(), catalogue=read_node_catalogue())
        self._daemons.start(containerd(self._files))
        archives = write_images(self._files.images, programs)
        self._await(RUNTIME_SOCKET.exists, daemon="containerd")
        for archive in archives:
            with archive.open("rb") as file:
                import_image([str(self._files.programs / "ctr")], file)

    def _await(self, condition: Callable[[], bool], *, daemon: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self._daemons.has_ended(daemon) or time.monotonic() > deadline:
                raise NodeError(f"{daemon} does not start\n{log_tail(self._files.logs / f'{daemon}.log')}")
            time.sleep(POLL_INTERVAL)

    def _server(self) -> str:
        return self._cluster.server


def main() -> None:
    """Run one node."""
    base, name, audit, *ports = sys.argv[1:]
    files = NodeFiles(Path(base), name)
    try:
        supervisor = Supervisor(files, ports=[int(port) for port in ports], audit=audit == "audit")
        supervisor.start()
        messages.tell(sys.stdout, messages.READY)
        supervisor.run()
    except HackError as error:
        messages.tell(sys.stdout, messages.FAILED, str(error))
    finally:
        end_all(files)


def end_all(files: NodeFiles) -> None:
    """Kill all processes of this namespace but the first, which ends with this one, and remove their control groups."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with suppress(OSError):  # whoever waits for the end of this process tries again
        cgroups.remove(files.cgroup)
    os._exit(0)


def _report_step(text: str) -> None:
    messages.tell(sys.stdout, messages.STEP, text)


if __name__ == "__main__":
    main()
