"""Calls of kwokctl, and what it does not tell: whether a component has died, and whether all are healthy."""

import os
import subprocess
import time
from collections.abc import Callable, Collection
from subprocess import DEVNULL, PIPE, STDOUT

from hack.cluster.client import Client
from hack.cluster.configuration import COMPONENTS
from hack.cluster.files import ClusterFiles
from hack.errors import ClusterError, DamagedDataError
from hack.files import log_tail
from hack.processes import find_programs

# About six seconds on two idle cores; several clusters may be starting at once on a busy machine.
TIMEOUT = 180.0
POLL_INTERVAL = 0.05
# Without these two no other component can start; kwokctl starts all at once, and whatever gives up, stays down.
ESSENTIAL = ("etcd", "kube-apiserver")
HEALTH_PATHS = {"etcd": "/health", "kube-apiserver": "/readyz"}


def run_kwokctl(files: ClusterFiles, *arguments: str) -> None:
    """Run kwokctl on one cluster; raises ClusterError with what it said, or as `wait_until` does.

    It waits two minutes for a cluster whose etcd died at once, and calls that a success; here nobody has to.
    """
    command = [str(files.programs / "kwokctl"), "--name", files.name, *arguments]
    with subprocess.Popen(
        command, cwd=files.directory, env=_environment(files), umask=0o077, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    ) as process:
        try:
            purpose = f"kwokctl {' '.join(arguments)}"
            wait_until(lambda: process.poll() is not None, files=files, purpose=purpose, watched=ESSENTIAL)
        except BaseException:
            process.kill()
            raise
        said = process.stdout.read().decode(errors="replace") if process.stdout else ""
    if process.returncode:
        raise ClusterError(f"kwokctl {' '.join(arguments)} failed:\n{said.strip()}")


def start_missing(files: ClusterFiles) -> None:
    """Start every component that has ended, on its own port.

    kwokctl must forget them first: it would take a zombie, or another program that got the pid, for what it started.
    """
    for name in dead_components(files):
        (files.pids / f"{name}.pid").unlink()
    run_kwokctl(files, "start", "cluster")


def wait_until(
    condition: Callable[[], bool], *, files: ClusterFiles, purpose: str, watched: Collection[str] = COMPONENTS
) -> None:
    """Wait until the condition holds, at most TIMEOUT seconds.

    Raises ClusterError with the end of its log when one of the watched components dies meanwhile: DamagedDataError
    when it is etcd, which reads what an earlier cluster left.
    """
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        for name in set(watched) & set(dead_components(files)):
            kind = DamagedDataError if name == "etcd" else ClusterError
            raise kind(f"{name} has ended\n{log_tail(files.logs / f'{name}.log')}")
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {TIMEOUT:.0f} s for {purpose}\n{log_tail(files.logs / 'kube-apiserver.log')}")
        time.sleep(POLL_INTERVAL)


def wait_healthy(files: ClusterFiles, api: Client, names: Collection[str]) -> None:
    """Wait until the named components say they are healthy; raises as `wait_until` does when one of them dies."""

    def healthy() -> bool:
        return all(is_healthy(files, api, name) for name in names)

    wait_until(healthy, files=files, purpose=" and ".join(names), watched=names)


def is_healthy(files: ClusterFiles, api: Client, name: str) -> bool:
    """Ask a component for its health; one that does not answer is not healthy."""
    endpoint = files.endpoints().get(name)
    return endpoint is not None and api.answers(f"{endpoint}{HEALTH_PATHS.get(name, '/healthz')}")


def dead_components(files: ClusterFiles) -> list[str]:
    """Return the components that kwokctl has started and that do not run any more, whatever it thinks of them."""
    started = [path.stem for path in files.pids.glob("*.pid")]
    running = find_programs(files.programs)
    return [name for name in started if name not in running]


def _environment(files: ClusterFiles) -> dict[str, str]:
    """Return a clean environment for kwokctl and, by it, every component.

    No proxy, no KUBECONFIG or KWOK variable, no configuration from the user's home, no kubectl but ours.
    """
    keep = {name: os.environ[name] for name in ("TMPDIR",) if name in os.environ}
    home = str(files.directory)
    return {**keep, "PATH": str(files.programs), "HOME": home, "KWOK_WORKDIR": str(files.base)}
