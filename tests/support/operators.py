"""The operator as a process beside the cluster, under the rights of its own ServiceAccount."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import httpx

from customer_operator import naming
from customer_operator.kube import leader
from customer_operator.naming import Manifest
from hack import exposition
from hack.paths import PROJECT_ROOT
from hack.ports import PortReservation
from hack.processes import dying_with_parent
from tests.support.kubernetes import PATIENCE, Kubernetes

_END = 15.0  # seconds; kopf's own limit for its clean-up is shorter
_LINES_SHOWN = 60
_BREATH = 0.05  # seconds between two looks at what cannot be watched

# A platform without a domain. Tries follow each other quickly, and so do the events of a license that ends.
USUAL: Mapping[str, str] = {
    "BASE_DOMAIN": "localhost",
    "PROBE_HOST": "127.0.0.1",
    "QUEUE_RETRY_DELAY": "0.5",
    "LICENSE_GRACE": "10",
    "RESYNC_INTERVAL": "600",
    "IMAGE_REGISTRIES": "example.test",
}
# As short as two busy processors can keep it.
SHORT_LEASE: Mapping[str, str] = {"LEASE_DURATION": "5", "LEASE_RENEW_DEADLINE": "4", "LEASE_RETRY_PERIOD": "1"}


class OperatorProcess:
    """One replica; it is started at once, and leads when `wait_until_leads` returns."""

    def __init__(self, name: str, *, kubeconfig: Path, folder: Path, environment: Mapping[str, str]) -> None:
        """Start it; the environment is added to the usual one."""
        self.name = name
        self.identity = environment.get("IDENTITY", name)
        self.log = folder / f"{name}.log"
        self._port = PortReservation(1)
        self._url = f"http://127.0.0.1:{self._port.ports[0]}"
        self._output: IO[bytes] = self.log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "customer_operator"],
            cwd=PROJECT_ROOT,
            env={
                **{key: value for key, value in os.environ.items() if not key.startswith(("KUBE", "IMAGE_"))},
                "PYTHONPATH": str(PROJECT_ROOT / "operator"),
                "KUBECONFIG": str(kubeconfig),
                "IDENTITY": self.identity,
                "PROBE_PORT": str(self._port.ports[0]),
                **USUAL,
                **environment,
            },
            stdout=self._output,
            stderr=subprocess.STDOUT,
            preexec_fn=dying_with_parent(),
        )

    @property
    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def wait_until_leads(self, api: Kubernetes) -> None:
        """Wait until this replica holds the lease."""
        api.wait_for("Lease", leader.LEASE_NAME, self.holds, namespace=naming.OPERATOR_NAMESPACE)

    def wait_until_up(self) -> None:
        """Wait until this replica answers, leading or not; only itself knows when."""
        self._poll(lambda: self.ask("/readyz").is_success, what="an answer")

    def wait_for_log(self, text: str) -> None:
        """Wait until it has logged a text; nothing announces that a file grows."""
        self._poll(lambda: text in self.log.read_text(errors="replace"), what=f"{text!r} in the log")

    def holds(self, lease: Manifest | None) -> bool:
        """Tell whether a lease is this replica's."""
        return lease is not None and lease["spec"].get("holderIdentity") == self.identity

    def ask(self, path: str) -> httpx.Response:
        """Return the answer of one of its HTTP endpoints."""
        return httpx.get(f"{self._url}{path}", timeout=10)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that carry these labels; 0 when there is none."""
        return exposition.total(self.ask("/metrics").text, name, **labels)

    def terminate(self) -> None:
        """Ask it to end, as Kubernetes does when it stops a pod, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without warning, as a lost node does."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it stand still, as a machine that is suspended does; its connections stay open."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on where it was."""
        self._process.send_signal(signal.SIGCONT)

    def log_tail(self) -> str:
        """Return the last lines it has logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LINES_SHOWN:])

    def _poll(self, condition: Callable[[], bool], *, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.runs:
            with suppress(httpx.TransportError):
                if condition():
                    return
            time.sleep(_BREATH)
        raise AssertionError(f"waited {PATIENCE:g} s, or until it ended, for {what} of {self.name}\n{self.log_tail()}")

    def _end(self, number: signal.Signals) -> None:
        if self.runs:
            self._process.send_signal(number)
            self.resume()
            self._process.wait(timeout=_END)
        self._output.close()
        self._port.release()


class Operators:
    """All replicas of a run. Of those that run only one leads, so most tests share the usual one."""

    def __init__(self, *, api: Kubernetes, kubeconfig: Path, folder: Path, environment: Mapping[str, str]) -> None:
        """Take the ServiceAccount's kubeconfig, the folder for logs, and what to add to every environment."""
        self._api = api
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._environment = environment
        self._numbers = itertools.count(1)
        self._usual: OperatorProcess | None = None
        self.all: list[OperatorProcess] = []

    def usual(self) -> OperatorProcess:
        """Return the shared replica, leading; others are ended for it."""
        if self._usual is None or not self._usual.runs:
            self.stop()
            self._usual = self.start("usual")
        return self._usual

    def start(self, name: str = "operator", **environment: str) -> OperatorProcess:
        """Start a replica with settings of its own, and wait until it leads, which takes that no other does."""
        replica = self._run(name, environment)
        replica.wait_until_leads(self._api)
        return replica

    def stand_by(self, name: str, **environment: str) -> OperatorProcess:
        """Start a replica with settings of its own beside one that leads, and wait until it is up."""
        replica = self._run(name, environment)
        replica.wait_until_up()
        return replica

    def stop(self) -> None:
        """End all that run."""
        for replica in self.all:
            replica.terminate()

    def _run(self, name: str, environment: Mapping[str, str]) -> OperatorProcess:
        replica = OperatorProcess(
            f"{name}-{next(self._numbers)}",
            kubeconfig=self._kubeconfig,
            folder=self._folder,
            environment={**self._environment, **environment},
        )
        self.all.append(replica)
        return replica
