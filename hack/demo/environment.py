"""The environment of the demo, started in the order in which its parts are needed, and ended with the block."""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hack.cluster import LocalCluster
from hack.demo import programs
from hack.demo.process import Running, running
from hack.paths import PROJECT_ROOT
from hack.ports import PortReservation
from hack.progress import Progress

MANIFESTS = PROJECT_ROOT / "manifests" / "overlays" / "local"
CRD_TIMEOUT = "--timeout=30s"

T = TypeVar("T")


@dataclass(frozen=True)
class Environment:
    """What runs, and where it is reached."""

    cluster: LocalCluster
    billing: Running
    billing_url: str
    operator: Running
    operator_url: str

    async def guard(self, work: Coroutine[Any, Any, T], *, timeout: float | None = None) -> T:  # noqa: ASYNC109
        """Return what `work` returns; `timeout` is in seconds.

        Raises DemoError when operator or billing API end meanwhile, and TimeoutError.
        """
        ends = {asyncio.create_task(program.wait_ended()): program for program in (self.billing, self.operator)}
        task = asyncio.create_task(work)
        try:
            await asyncio.wait((task, *ends), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            for end, program in ends.items():
                if end.done():
                    raise program.ended()
            if not task.done():
                raise TimeoutError
            return task.result()
        finally:
            for running_task in (task, *ends):
                running_task.cancel()
            await asyncio.gather(task, *ends, return_exceptions=True)


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
