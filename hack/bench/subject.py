"""The operator under test: a process under its own ServiceAccount, watched from outside."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from customer_operator import naming
from hack.bench import admin, tenants
from hack.cluster import LocalCluster
from hack.processes import dying_with_parent

NAMESPACE, ACCOUNT = "iotistic-system", "customer-operator"
_READY_WITHIN = 60.0  # seconds
_GLANCE = 0.5  # seconds between two looks at the operator's metrics, which nothing announces
_CONNECTIONS = 20
_INSTANCES = f"/apis/{naming.API_VERSION}/{naming.PLURAL}"


class Subject:
    """One operator process, and the administrator's view of what it does."""

    def __init__(self, cluster: LocalCluster, *, directory: Path) -> None:
        """Take the cluster, with the rights applied, and a folder for the operator's kubeconfig and log."""
        self._cluster = cluster
        self._directory = directory
        self._port = _free_port()
        self._identity = f"bench-{self._port}"
        self._stack = AsyncExitStack()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start the operator and wait until it leads and has looked at all instances that exist."""
        kubeconfig = await asyncio.to_thread(
            self._cluster.service_account_kubeconfig, NAMESPACE, ACCOUNT, self._directory / "operator.kubeconfig"
        )
        log = self._stack.enter_context((self._directory / "operator.log").open("wb"))
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "BASE_DOMAIN": "localhost",
            "PROBE_HOST": "127.0.0.1",
            "PROBE_PORT": str(self._port),
            "IDENTITY": self._identity,
        }
        command = [sys.executable, "-m", "kopf", "run", "--all-namespaces", "-m", "customer_operator.handlers"]
        self._process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=log, stderr=log, preexec_fn=dying_with_parent()
        )
        self._api = await self._stack.enter_async_context(admin.connect(self._cluster, limit=_CONNECTIONS))
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{self._port}"))
        await self._wait_for_lead()
        await self.wait_quiet()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the operator and wait for its end."""
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()
        await self._stack.aclose()

    async def provision(self, names: Sequence[str]) -> float:
        """Order all instances at once; return the seconds until the last of all their objects has been applied."""
        started = time.monotonic()
        ordered = asyncio.gather(*(self._order(name) for name in names))
        await self._watch(names, _is_applied)
        await ordered
        return time.monotonic() - started

    async def wait_ready(self, names: Sequence[str]) -> None:
        """Wait until all instances are Ready."""
        await self._watch(names, lambda status: status.get("phase") == "Ready")

    async def wait_quiet(self) -> None:
        """Wait until the operator has looked at every instance once and has nothing left to do."""
        async with asyncio.timeout(_READY_WITHIN):
            while (await self._gauges())["customer_operator_queue_delayed"] < await self._instances():  # noqa: ASYNC110 - nothing announces them
                await asyncio.sleep(_GLANCE)

    def resident_mib(self) -> float:
        """Return the operator's resident memory in MiB."""
        status = Path(f"/proc/{self._pid}/status").read_text(encoding="ascii")
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(kib) / 1024

    def processor_seconds(self) -> float:
        """Return the processor time that the operator has used so far, in seconds."""
        fields = Path(f"/proc/{self._pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def _pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the operator is not running; use the subject as a context manager")
        return self._process.pid

    async def requests(self) -> dict[str, float]:
        """Return how many requests the operator has sent so far, by HTTP method (its watches and its Lease aside)."""
        totals: dict[str, float] = {}
        for family in await self._metrics():
            for sample in family.samples:
                if sample.name == "customer_operator_api_requests_total":
                    verb = sample.labels["verb"]
                    totals[verb] = totals.get(verb, 0.0) + sample.value
        return totals

    async def _metrics(self) -> list[Metric]:
        async with self._http.get("/metrics") as answer:
            return list(text_string_to_metric_families(await answer.text()))

    async def _gauges(self) -> dict[str, float]:
        return {sample.name: sample.value for family in await self._metrics() for sample in family.samples}

    async def _instances(self) -> int:
        async with self._api.get(_INSTANCES) as answer:
            answer.raise_for_status()
            return len((await answer.json())["items"])

    async def _order(self, name: str) -> None:
        async with self._api.post(_INSTANCES, json=tenants.resource(name)) as answer:
            answer.raise_for_status()

    async def _watch(self, names: Sequence[str], done: Callable[[Mapping[str, Any]], bool]) -> None:
        """Return when `done` holds for the status of every named instance."""
        missing = set(names)

        def seen(_: str, body: Mapping[str, Any]) -> bool:
            if done(body.get("status") or {}):
                missing.discard(body["metadata"]["name"])
            return not missing

        await admin.watch(self._api, _INSTANCES, seen)

    async def _wait_for_lead(self) -> None:
        def leads(_: str, lease: Mapping[str, Any]) -> bool:
            return bool(lease["spec"].get("holderIdentity") == self._identity)

        async with asyncio.timeout(_READY_WITHIN):
            await admin.watch(self._api, f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases", leads)


def _is_applied(status: Mapping[str, Any]) -> bool:
    return any(stage["name"] == "apply" and stage["state"] == "Done" for stage in status.get("stages", ()))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
