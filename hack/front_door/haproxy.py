"""HAProxy with the product's own configuration, and what it says of itself at its runtime socket."""

import signal
import socket
import time
from pathlib import Path
from typing import Final

from hack.errors import PlatformError
from hack.paths import PROJECT_ROOT
from hack.ports import PortReservation
from hack.processes import resident_mib
from hack.servers import PATIENCE, Server, find_program, is_open
from mqtt_router import mapping
from mqtt_router.routes import Route

CONFIGURATION: Final = PROJECT_ROOT / "manifests" / "base" / "mqtt-router" / "haproxy.cfg"
_BREATH = 0.005  # seconds between two looks at what is not announced


class FrontDoor:
    """HAProxy with the product's own configuration, on ports and in a folder of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Take a folder for socket and map; settings are further variables of haproxy.cfg."""
        self._ports = PortReservation(2)
        self.port, self.health_port = self._ports.ports
        # A socket's path has 107 characters at most, and folders of tests are deep.
        self.socket, self.map_file = folder / "haproxy.sock", folder / "routes.map"
        self.environment = {
            "ROUTER_BIND": f"127.0.0.1:{self.port}",
            "ROUTER_HEALTH_BIND": f"127.0.0.1:{self.health_port}",
            "ROUTER_SOCKET": str(self.socket),
            "ROUTER_MAP": str(self.map_file),
            "ROUTER_MAXCONN": "4000",
            **settings,
        }
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """HAProxy's master process, the last one if it has been started several times."""
        if self._server is None:
            raise PlatformError("HAProxy has not been started")
        return self._server

    def write(self, *routes: Route) -> None:
        """Write the map's file, as the router would before HAProxy starts."""
        self.map_file.write_text(mapping.render(mapping.values_of({each.host: each for each in routes})))

    def start(self) -> None:
        """Start it as the image does, and wait until it listens."""
        self._server = Server(
            [find_program("haproxy", of="HAProxy"), "-W", "-db", "-f", CONFIGURATION], environment=self.environment
        )
        self._server.wait_for_port(self.port)
        while not self._answers():
            time.sleep(_BREATH)

    def _answers(self) -> bool:
        """Tell whether the socket is that of the process that was started, and not what another has left."""
        try:
            return bool(self.ask("show info"))
        except (ConnectionRefusedError, FileNotFoundError):
            return False

    def kill(self) -> None:
        """End it without a chance to say so, the worker with its master, and wait until nobody listens."""
        self.server.stop(signal.SIGKILL)
        while is_open(self.port):
            time.sleep(_BREATH)

    def ask(self, command: str) -> str:
        """Return the answer to a command at the runtime socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.socket))
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def entries(self) -> dict[str, str]:
        """Return the map that is live."""
        return dict(self.shown())

    def shown(self) -> list[tuple[str, str]]:
        """Return the entries of the map in order, each as often as it is there."""
        lines = (line.split(" ", 2) for line in self.ask(f"show map {self.map_file}").split("\n") if line)
        return sorted((host, value) for _, host, value in lines)

    def worker(self) -> int:
        """Return the id of the process that serves."""
        return int(self.ask("show info").partition("\nPid: ")[2].split()[0])

    def connections(self) -> int:
        """Return how many connections there are, those to the socket apart."""
        return int(self.ask("show info").partition("\nCurrConns: ")[2].split()[0])

    def resident_mib(self) -> float:
        """Return the memory of the process that serves."""
        return resident_mib(self.worker())

    def accepted(self) -> int:
        """Return how many connections of devices there have been."""
        line = next(line for line in self.ask("show stat").splitlines() if line.startswith("mqtt_tls,FRONTEND,"))
        return int(line.split(",")[7])

    def close(self) -> None:
        """End what is left."""
        if self._server is not None:
            self._server.stop(signal.SIGTERM)
        self._ports.release()
