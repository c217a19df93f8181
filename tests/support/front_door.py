"""The front door for devices as processes of this machine: HAProxy, mqtt-router beside it, and devices that come in.

Brokers are PlainBroker with certificates of their own, on addresses 127.0.0.x that stand for those of Services.
"""

import asyncio
import re
import shutil
import signal
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self

import pytest
from prometheus_client.parser import text_string_to_metric_families

from customer_operator.credentials import certificates
from customer_operator.credentials.certificates import KeyPair
from hack.paths import PROJECT_ROOT
from hack.ports import PortReservation
from mqtt_router import mapping
from mqtt_router.routes import Route
from tests.support.mqtt_packets import packet
from tests.support.plain_broker import PlainBroker
from tests.support.servers import PATIENCE, Server, is_open
from tests.support.waiting import wait_until

CONFIGURATION: Final = PROJECT_ROOT / "manifests" / "base" / "mqtt-router" / "haproxy.cfg"
_FOLDERS: Final = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin"
_PING, _PONG = b"\xc0\x00", b"\xd0\x00"
_KEEP_ALIVE: Final = 600


def find_haproxy() -> Path:
    """Return HAProxy's program; skips the test when there is none."""
    found = shutil.which("haproxy", path=_FOLDERS)
    if found is None:
        pytest.skip("HAProxy is missing: apt-get install haproxy (its service need not run)")
    return Path(found)


class FrontDoor:
    """HAProxy with the product's own configuration, on ports and in a folder of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Take a folder for socket and map; settings are further variables of haproxy.cfg."""
        self._ports = PortReservation(2)
        self.port, self.health_port = self._ports.ports
        # A socket's path has 107 characters at most, and pytest's folders are deep.
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
        assert self._server is not None
        return self._server

    def write(self, *routes: Route) -> None:
        """Write the map's file, as the router would before HAProxy starts."""
        self.map_file.write_text(mapping.render(mapping.values_of({each.host: each for each in routes})))

    def start(self) -> None:
        """Start it as the image does, and wait until it listens."""
        self._server = Server([find_haproxy(), "-W", "-db", "-f", CONFIGURATION], environment=self.environment)
        self._server.wait_for_port(self.port)

    def kill(self) -> None:
        """End it without a chance to say so, the worker with its master, and wait until nobody listens."""
        self.server.stop(signal.SIGKILL)
        wait_until(lambda: not is_open(self.port), interval=0.005)

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

    def accepted(self) -> int:
        """Return how many connections of devices there have been."""
        line = next(line for line in self.ask("show stat").splitlines() if line.startswith("mqtt_tls,FRONTEND,"))
        return int(line.split(",")[7])

    def close(self) -> None:
        """End what is left."""
        if self._server is not None:
            self._server.stop(signal.SIGTERM)
        self._ports.release()


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
        assert found is not None
        self._url = f"http://127.0.0.1:{found[1]}"

    def unready(self) -> str:
        """Return why it is not ready, "" when it is."""
        status, text = self.get("/readyz")
        return "" if status == HTTPStatus.OK else text

    def wait_until_ready(self) -> None:
        """Return as soon as it is ready; TimeoutError when that takes too long."""
        wait_until(lambda: not self.unready())

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a metric, 0 when it has none yet."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = (sample for family in families for sample in family.samples)
        return sum(
            sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of an answer."""
        try:
            with urllib.request.urlopen(f"{self._url}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@dataclass(frozen=True)
class Authority:
    """The local authority that signs the brokers' certificates."""

    pair: KeyPair

    @classmethod
    def create(cls) -> Self:
        """Return a new one."""
        return cls(certificates.create_authority(now=datetime.now(UTC)))

    def files(self, folder: Path, *, host: str) -> Mapping[str, Path]:
        """Write a certificate for a host, and return the options of a listener that shows it."""
        issued = certificates.issue(self.pair, hosts=[host], now=datetime.now(UTC))
        files = {"certfile": folder / "tls.crt", "keyfile": folder / "tls.key"}
        files["certfile"].write_text(issued.certificate)
        files["keyfile"].write_text(issued.private_key)
        return files

    def context(self) -> ssl.SSLContext:
        """Return what a device trusts: this authority, for the very host that it names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.pair.certificate)
        return context


class Device:
    """One device that has been let in by a broker: TLS by SNI, MQTT 3.1.1 within."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int, *, host: str, context: ssl.SSLContext, name: str = "") -> Self:
        """Connect to 127.0.0.1 for a host whose certificate is verified; ConnectionError or SSLError if it fails."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
            writer.write(_hello(name))
            try:
                answer = await reader.readexactly(4)
            except asyncio.IncompleteReadError as error:
                raise ConnectionResetError("the broker hung up") from error
        assert answer == b"\x20\x02\x00\x00"
        return cls(reader, writer)

    async def ping(self) -> None:
        """Have the broker answer; ConnectionError when the connection has ended."""
        self._writer.write(_PING)
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._reader.readexactly(2)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the connection has ended") from error
        assert answer == _PONG

    async def ended(self) -> None:
        """Wait until the other side has closed the connection, and close it as well."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError, ssl.SSLError):
                assert not await self._reader.read(1)
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()


def _hello(name: str) -> bytes:
    """Return CONNECT with a clean session (3.1)."""
    protocol = b"\x00\x04MQTT\x04\x02" + _KEEP_ALIVE.to_bytes(2)
    return packet(0x10, protocol + len(name).to_bytes(2) + name.encode())


@dataclass(frozen=True)
class Tenant:
    """A broker of a host."""

    host: str
    broker: PlainBroker

    @property
    def route(self) -> Route:
        """The way to it."""
        return Route(self.host, self.broker.address, self.broker.port)

    def visits(self) -> int:
        """Return how many MQTT clients have been let in."""
        return self.broker.server.log.count("New client connected")
