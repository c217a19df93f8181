"""The operator under test: a process under its own ServiceAccount, watched from outside."""

import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from customer_operator import naming
from hack.bench import tenants
from hack.cluster import Client, LocalCluster
from hack.ports import PortReservation
from hack.processes import dying_with_parent

NAMESPACE, ACCOUNT = "iotistic-system", "customer-operator"
_GLANCE = 0.5  # seconds between two looks at the operator's metrics, which nothing announces
_CONNECTIONS = 20
_INSTANCES = f"/apis/{naming.API_VERSION}/{naming.PLURAL}"
_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"


class Subject:
    """One operator process, and the administrator's view of what it does."""

    def __init__(
        self,
        cluster: LocalCluster,
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        patience: float = 60.0,
    ) -> None:
        """Take the cluster, with the rights applied, a folder for the operator's kubeconfig and log, and settings.

        `patience` is how long (seconds) it may take to look at all instances that exist.
        """
        self._settings = dict(environment or {})
        self._patience = patience
        self._cluster = cluster
        self._directory = directory
        self._port = PortReservation(1)
        self._url = f"http://127.0.0.1:{self._port.ports[0]}"
        self._identity = f"bench-{self._port.ports[0]}"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start the operator and wait until it leads and has looked at all instances that exist."""
        kubeconfig = self._cluster.service_account_kubeconfig(
            NAMESPACE, ACCOUNT, self._directory / "operator.kubeconfig"
        )
        self._stack.callback(self._port.release)
        log = self._stack.enter_context((self._directory / "operator.log").open("wb"))
        command = [sys.executable, "-m", "customer_operator"]
        self._process = subprocess.Popen(
            command, env=self._environment(kubeconfig), stdout=log, stderr=log, preexec_fn=dying_with_parent()
        )
        self._stack.enter_context(self._process)  # waits for its end
        self._stack.callback(self._process.terminate)
        self._api = self._stack.enter_context(Client(self._cluster.kubeconfig))
        self._watch(_LEASES, self._leads, timeout=self._patience)
        self.wait_quiet()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the operator and wait for its end."""
        self._stack.close()

    def provision(self, names: Sequence[str]) -> float:
        """Order all instances at once; return the seconds until the last of all their objects has been applied."""
        started = time.monotonic()
        with ThreadPoolExecutor(max_workers=_CONNECTIONS) as pool:
            ordered = [pool.submit(self._api.send, "POST", _INSTANCES, body=tenants.resource(name)) for name in names]
            self._wait_for_all(names, _is_applied)
        for order in ordered:
            order.result()
        return time.monotonic() - started

    def wait_ready(self, names: Sequence[str]) -> None:
        """Wait until all instances are Ready."""
        self._wait_for_all(names, lambda status: status.get("phase") == "Ready")

    def wait_quiet(self) -> None:
        """Wait until the operator has made a pass over every instance and has nothing left to do."""
        deadline = time.monotonic() + self._patience
        while not self._is_quiet(len(self._api.collection(_INSTANCES))):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the operator is still busy after {self._patience:.0f} s")
            time.sleep(_GLANCE)

    def _is_quiet(self, instances: int) -> bool:
        sums: defaultdict[str, float] = defaultdict(float)
        for family in self._metrics():
            for sample in family.samples:
                sums[sample.name] += sample.value
        busy = sums["customer_operator_queue_depth"] + sums["customer_operator_queue_in_flight"]
        passes = sums["customer_operator_reconcile_seconds_count"]
        return not busy and passes >= instances <= sums["customer_operator_queue_delayed"]

    def resident_mib(self, *, peak: bool = False) -> float:
        """Return the operator's resident memory in MiB: now, or the most that it has been."""
        field = "VmHWM:" if peak else "VmRSS:"
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith(field))
        return int(kib) / 1024

    def processor_seconds(self) -> float:
        """Return the processor time that the operator has used so far, in seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def requests(self) -> dict[str, float]:
        """Return how many requests the operator has sent so far, by HTTP method (its watches and its Lease aside)."""
        totals: dict[str, float] = {}
        for family in self._metrics():
            for sample in family.samples:
                if sample.name == "customer_operator_api_requests_total":
                    verb = sample.labels["verb"]
                    totals[verb] = totals.get(verb, 0.0) + sample.value
        return totals

    def _environment(self, kubeconfig: Path) -> dict[str, str]:
        return {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "BASE_DOMAIN": "localhost",
            **self._settings,
            "PROBE_HOST": "127.0.0.1",
            "PROBE_PORT": str(self._port.ports[0]),
            "IDENTITY": self._identity,
        }

    def _metrics(self) -> list[Metric]:
        answer = httpx.get(f"{self._url}/metrics", trust_env=False).raise_for_status()
        return list(text_string_to_metric_families(answer.text))

    def _wait_for_all(self, names: Sequence[str], done: Callable[[Mapping[str, Any]], bool]) -> None:
        """Return when `done` holds for the status of every named instance."""
        missing = set(names)

        def seen(body: Mapping[str, Any]) -> bool:
            if done(body.get("status") or {}):
                missing.discard(body["metadata"]["name"])
            return not missing

        self._watch(_INSTANCES, seen)

    def _leads(self, lease: Mapping[str, Any]) -> bool:
        return bool(lease["spec"].get("holderIdentity") == self._identity)

    def _watch(self, path: str, seen: Callable[[Mapping[str, Any]], bool], *, timeout: float | None = None) -> None:
        """Hand every object, those that exist first, to `seen` until it returns True."""
        while True:
            for _, body in self._api.events(path, timeout=timeout):
                if seen(body):
                    return


def _is_applied(status: Mapping[str, Any]) -> bool:
    return any(stage["name"] == "apply" and stage["state"] == "Done" for stage in status.get("stages", ()))
