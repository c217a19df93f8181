"""The reference API and dashboard as processes: the command of their images, the environment of the manifests."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from customer_operator.naming import Manifest
from hack.ports import PortReservation
from reference_api.access import access_token
from reference_api.settings import from_environment
from tests.support.pods import Pod
from tests.support.servers import PATIENCE, Server

_NOBODY = 65534


class ReferenceProcess:
    """One of the two programs. It keeps its port over restarts."""

    def __init__(self, program: str, environment: Mapping[str, str]) -> None:
        """Take what `python -m` runs, and the variables of its container."""
        self._ports = PortReservation(1)
        self.port = self._ports.ports[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**environment, "HOST": "127.0.0.1", "PORT": str(self.port)}
        self._program = program
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """The process, the last one if it has been started several times."""
        assert self._server is not None
        return self._server

    @property
    def memory(self) -> int:
        """Resident memory in bytes."""
        return int(psutil.Process(self.server.pid).memory_info().rss)

    @property
    def most_memory(self) -> int:
        """The most resident memory it has ever had, in bytes."""
        status = Path(f"/proc/{self.server.pid}/status").read_text(encoding="ascii")
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])

    def launch(self, *arguments: str) -> None:
        """Start it without waiting for it."""
        self._server = Server([sys.executable, "-m", self._program, *arguments], environment=self.environment)

    def listen(self) -> None:
        """Start it and wait until it listens."""
        self.launch()
        self.server.wait_for_port(self.port)

    def stop(self) -> None:
        """End it as the kubelet does."""
        assert self.server.stop() == 0, self.server.log

    def kill(self) -> None:
        """End it as a power cut does."""
        assert self.server.stop(signal.SIGKILL) == -signal.SIGKILL

    def close(self) -> None:
        """End all that is left."""
        if self._server is not None:
            self._server.stop(signal.SIGKILL)
        self._ports.release()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the answer to one request, redirects not followed."""
        return httpx.request(method, f"{self.url}{path}", timeout=PATIENCE, trust_env=False, **options)


class ReferenceApi(ReferenceProcess):
    """The API; requests carry its access token unless told otherwise."""

    def __init__(self, manifests: Sequence[Manifest], *, database_url: str, broker_port: int, root: Path) -> None:
        """Take the component's objects, where its database and broker are here, and an empty folder."""
        given = Pod(manifests, workload="api", root=root).environment("api")
        here = {"DATABASE_URL": database_url, "MQTT_BROKER": f"mqtt://127.0.0.1:{broker_port}"}
        super().__init__("reference_api", {**given, **here})
        self.token = access_token(from_environment(self.environment))

    def start(self) -> None:
        """Start it and wait until it serves, and messages come in."""
        self.listen()
        self.server.wait_for("subscribed to")

    @property
    def health(self) -> dict[str, Any]:
        """What /api/health says."""
        return dict(self.request("GET", "/api/health").json())

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the answer to a request of somebody who knows the token."""
        return self.request(method, path, headers={"Authorization": f"Bearer {self.token}"}, **options)

    def register(self, name: str) -> str:
        """Register a device and return its password."""
        answer = self.call("POST", "/api/devices", json={"name": name})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["password"])

    def readings(self, device: str) -> list[tuple[str, float]]:
        """Return names and values of a device's readings, the latest first."""
        answer = self.call("GET", f"/api/devices/{device}/readings", params={"limit": "1000"})
        assert answer.status_code == 200, answer.text
        return [(reading["name"], reading["value"]) for reading in answer.json()["readings"]]

    def metric(self, line: str) -> float:
        """Return the value of one line of /metrics, named as it begins; 0.0 when there is none."""
        lines = self.request("GET", "/metrics").text.splitlines()
        return next((float(text.rpartition(" ")[2]) for text in lines if text.startswith(f"{line} ")), 0.0)


class ReferenceDashboard(ReferenceProcess):
    """The dashboard; requests are those of a browser at its own address."""

    def __init__(self, manifests: Sequence[Manifest], *, api_url: str, root: Path) -> None:
        """Take the component's objects, where its API is here, and an empty folder."""
        given = Pod(manifests, workload="dashboard", root=root).environment("dashboard")
        super().__init__("reference_dashboard", {**given, "API_URL": api_url})

    def submit(self, path: str, cookie: str = "", *, origin: str | None = None, **form: str) -> httpx.Response:
        """Return the answer to a form that a page of this origin sends, by default one of the dashboard's."""
        headers = {"Origin": self.url if origin is None else origin, "Cookie": f"access={cookie}"}
        return self.request("POST", path, data=form, headers=headers)

    def visit(self, path: str, token: str) -> httpx.Response:
        """Return the answer to somebody who has signed in with this token."""
        return self.request("GET", path, headers={"Cookie": f"access={token}"})


class OpenBroker:
    """A real Mosquitto that asks for no login, with a volume; for tests in which the login is not the point."""

    _CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
max_queued_messages 1000
log_dest stdout
"""

    def __init__(self, program: Path, *, root: Path) -> None:
        """Take Mosquitto's program, and an empty folder that everybody may pass through."""
        self._ports = PortReservation(1)
        self.port = self._ports.ports[0]
        self._command: list[str | Path] = [program, "-c", root / "mosquitto.conf"]
        self._server: Server | None = None
        data = root / "data"
        data.mkdir(mode=0o777)
        data.chmod(0o777)
        (root / "mosquitto.conf").write_text(self._CONFIGURATION.format(port=self.port, folder=data), encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it listens."""
        nobody = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        self._server = Server(self._command, environment={}, user=nobody)
        self._server.wait_for_port(self.port)

    def stop(self) -> None:
        """End it; it saves what it has."""
        assert self._server is not None
        assert self._server.stop() == 0, self._server.log

    def close(self) -> None:
        """End all that is left."""
        if self._server is not None:
            self._server.stop()
        self._ports.release()
