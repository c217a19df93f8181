"""mqtt-router beside a front door of this machine, as it is started and as it is asked."""

import re
import sys
import time
from http import HTTPStatus
from typing import Final

import httpx

from hack import exposition
from hack.errors import PlatformError
from hack.front_door.haproxy import FrontDoor
from hack.paths import PROJECT_ROOT
from hack.processes import resident_mib
from hack.servers import PATIENCE, Server

_BREATH: Final = 0.02  # seconds between two looks whether it is ready


class RouterProcess:
    """mqtt-router beside a front door; it is started at once."""

    def __init__(self, door: FrontDoor, **settings: str) -> None:
        """Start it with these further settings, KUBECONFIG among them; it serves its probes when this returns."""
        self.server = Server(
            [sys.executable, "-m", "mqtt_router"],
            environment={
                "PYTHONPATH": str(PROJECT_ROOT / "operator"),
                "MAP_FILE": str(door.map_file),
                "HAPROXY_SOCKET": str(door.socket),
                "ADDRESS_RANGES": "127.0.0.0/8",
                "PROBE_HOST": "127.0.0.1",
                "PROBE_PORT": "0",
                "CHECK_INTERVAL": "0.2",
                **settings,
            },
        )
        self.server.wait_for("serving probes")
        found = re.search(r"serving probes on port (\d+)", self.server.log)
        if found is None:
            raise PlatformError(f"mqtt-router serves no probes:\n{self.server.log}")
        self._url = f"http://127.0.0.1:{found[1]}"

    def unready(self) -> str:
        """Return why it is not ready, "" when it is."""
        status, text = self.get("/readyz")
        return "" if status == HTTPStatus.OK else text

    def wait_until_ready(self) -> None:
        """Return as soon as it is ready; TimeoutError when that takes too long."""
        deadline = time.monotonic() + PATIENCE
        while reason := self.unready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"mqtt-router is not ready after {PATIENCE:g} s: {reason}")
            time.sleep(_BREATH)

    def resident_mib(self) -> float:
        """Return the memory of its process."""
        return resident_mib(self.server.pid)

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a metric, 0 when it has none yet."""
        return exposition.total(self.get("/metrics")[1], name, **labels)

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of an answer."""
        answer = httpx.get(f"{self._url}{path}", timeout=PATIENCE, trust_env=False)
        return answer.status_code, answer.text
