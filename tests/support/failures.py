"""What ends on a node without warning: a container's processes, a daemon."""

from collections.abc import Iterable
from pathlib import Path
from signal import SIGKILL

from customer_operator.naming import Manifest
from hack.node import NodeCluster
from hack.processes import ProcessIdentity, find_programs, identify
from tests.support.waiting import wait_until

_PATIENCE = 30.0  # seconds


def statuses(pod: Manifest) -> list[Manifest]:
    """Return the statuses of a pod's containers, sidecars among them."""
    return [*pod["status"].get("initContainerStatuses", ()), *pod["status"]["containerStatuses"]]


def first_process(pods: Iterable[Manifest], container: str) -> ProcessIdentity:
    """Return the first process of a running container; with it end all others.

    It is found by its control group, which is named like the container, so that killing it takes no program's start.
    """
    found = (status for pod in pods for status in statuses(pod))
    name = next(status["containerID"] for status in found if status["name"] == container)
    group = name.removeprefix("containerd://")
    pids = sorted(int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cgroup") if group in _read(path))
    process = identify(pids[0])
    assert process
    return process


def kill(process: ProcessIdentity) -> None:
    """End a process as the kernel does when memory runs out, and wait for its end."""
    assert process.send_signal(SIGKILL)
    assert process.wait(timeout=_PATIENCE)


def kill_daemon(node: NodeCluster, name: str) -> None:
    """End one of the programs that a node and its control plane consist of; return when it has been started again."""
    folders = (node.files.programs, node.files.control_plane.programs)

    def running() -> ProcessIdentity | None:
        return next((found for folder in folders if (found := find_programs(folder).get(name))), None)

    before = running()
    assert before
    kill(before)
    wait_until(lambda: running() is not None, timeout=_PATIENCE)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return ""
