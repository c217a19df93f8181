"""The environment of the demo, started in the order in which its parts are needed, and ended with the block."""

import os
import select
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import LocalCluster
from hack.demo import programs
from hack.demo.process import Running, running
from hack.paths import PROJECT_ROOT
from hack.ports import PortReservation
from hack.progress import Progress

MANIFESTS = PROJECT_ROOT / "manifests" / "overlays" / "local"
CRD_TIMEOUT = "--timeout=30s"


@dataclass(frozen=True)
class Environment:
    """What runs, and where it is reached."""

    cluster: LocalCluster
    billing: Running
    billing_url: str
    operator: Running
    operator_url: str

    def check(self) -> None:
        """Raise DemoError when operator or billing API have ended."""
        for program in (self.billing, self.operator):
            if program.process.poll() is not None:
                raise program.ended()

    def wait_ended(self) -> None:
        """Wait until operator or billing API end by themselves, and raise DemoError."""
        with ExitStack() as stack:
            ends = [os.pidfd_open(program.process.pid) for program in (self.billing, self.operator)]
            for end in ends:
                stack.callback(os.close, end)
            select.select(ends, [], [])
        self.check()


@contextmanager
def running_environment(folder: Path, *, extra: Mapping[str, str]) -> Iterator[Environment]:
    """Start cluster, billing API and operator with their files in `folder`; `extra` are further settings.

    Raises HackError, with the end of its log, when one of them does not start.
    """
    with ExitStack() as stack:
        with Progress() as progress:
            environment = _start(folder, extra=extra, stack=stack, progress=progress)
        yield environment


def _start(folder: Path, *, extra: Mapping[str, str], stack: ExitStack, progress: Progress) -> Environment:
    cluster = stack.enter_context(LocalCluster("cluster", base=folder, report=progress.step))
    progress.step("applying contract, roles and policies")
    cluster.kubectl("apply", "--server-side", "--kustomize", str(MANIFESTS))
    cluster.kubectl("wait", "--for=condition=Established", "crd/customerinstances.iotistic.cloud", CRD_TIMEOUT)
    reservation = PortReservation(2)
    stack.callback(reservation.release)
    billing_port, operator_port = reservation.ports
    data = folder / "billing"
    data.mkdir(mode=0o700)
    stack.callback(programs.end_database, data)
    progress.step("starting the billing API and its PostgreSQL")
    program = programs.billing_api(cluster, folder=data, port=billing_port, extra=extra)
    billing = stack.enter_context(running(program, logs=cluster.files.logs))
    billing.wait_ready()
    progress.step("starting the operator")
    program = programs.operator(cluster, folder=data, port=operator_port, extra=extra)
    operator = stack.enter_context(running(program, logs=cluster.files.logs))
    operator.wait_ready()
    return Environment(
        cluster=cluster,
        billing=billing,
        billing_url=f"http://127.0.0.1:{billing_port}",
        operator=operator,
        operator_url=f"http://127.0.0.1:{operator_port}",
    )
