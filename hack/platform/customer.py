"""A customer's stack as its owner and its devices use it, on a cluster whose pods truly run."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from hack.errors import PlatformError
from hack.platform.cluster import RunningCluster
from hack.platform.device import Device, Login, NamedContext, trusting

# As its Service has it.
_API_PORT = 3002
_ACCESS_TOKEN = ("python", "-m", "reference_api", "access-token")
# Seconds; it hashes a password when a device is registered, and the machine may be busy.
_TIMEOUT = 30.0


@dataclass(frozen=True, kw_only=True)
class CustomerStack:
    """The stack of the instance `name`."""

    cluster: RunningCluster
    name: str

    @property
    def namespace(self) -> str:
        """Where the stack is."""
        return f"customer-{self.name}"

    @property
    def host(self) -> str:
        """The host name of the dashboard and, below /api, of the API."""
        return f"{self.name}.iotistic.cloud"

    @property
    def mqtt_host(self) -> str:
        """The host name of the broker, which devices name when they come in by the front door."""
        return f"mqtt.{self.host}"

    @property
    def token_command(self) -> tuple[str, ...]:
        """What prints the access token of dashboard and API, by kubectl."""
        return ("exec", "--namespace", self.namespace, "deployment/api", "--", *_ACCESS_TOKEN)

    def secret(self, name: str) -> dict[str, str]:
        """Return a Secret's values."""
        text = self.cluster.kubectl("get", "secret", name, "--namespace", self.namespace, "--output=json")
        return {key: base64.b64decode(value).decode() for key, value in json.loads(text)["data"].items()}

    def execute(self, workload: str, *command: str) -> str:
        """Run a command in a workload's first container; return what it prints."""
        return self.cluster.kubectl("exec", "--namespace", self.namespace, workload, "--", *command)

    def sql(self, statement: str) -> str:
        """Run a statement in the stack's database as its superuser; return the bare values."""
        psql = ("psql", "-X", "-A", "-t", "-U", "postgres", "-d", "iotistic", "-c", statement)
        return self.execute("statefulset/postgres", *psql).strip()

    @contextmanager
    def devices(self) -> Iterator[httpx.Client]:
        """Give a client of the stack's API that knows its access token."""
        token = self.cluster.kubectl(*self.token_command).strip()
        headers = {"Authorization": f"Bearer {token}"}
        with (
            self.cluster.reach(self.namespace, "api", _API_PORT) as (host, port),
            httpx.Client(
                base_url=f"http://{host}:{port}", headers=headers, trust_env=False, timeout=_TIMEOUT
            ) as client,
        ):
            yield client

    def trust(self) -> NamedContext:
        """Return what a device verifies its broker by: the customer's CA, and the broker's own name."""
        return trusting(self.secret("mosquitto-tls")["ca.crt"], host=self.mqtt_host)

    @contextmanager
    def device(self, login: Login) -> Iterator[Device]:
        """Connect a device by the front door, for as long as the block lasts; raises PlatformError if it is refused."""
        with Device(self.cluster.front_door, login, tls=self.trust()) as device:
            yield device


def register(client: httpx.Client, name: str) -> Login:
    """Register a device by the API; return what it logs in with. Raises PlatformError."""
    answer = _ask(client, "POST", "/api/devices", json={"name": name})
    return Login(answer["username"], answer["password"])


def readings(client: httpx.Client, device: str) -> list[float]:
    """Return what the API has stored of a device, the latest first. Raises PlatformError."""
    return [reading["value"] for reading in _ask(client, "GET", f"/api/devices/{device}/readings")["readings"]]


def _ask(client: httpx.Client, method: str, path: str, **options: Any) -> Any:
    try:
        answer = client.request(method, path, **options)
    except httpx.TransportError as error:
        raise PlatformError(f"the stack's API does not answer {method} {path} ({type(error).__name__})") from error
    if answer.is_error:
        raise PlatformError(f"the stack's API refuses {method} {path}: {answer.status_code} {answer.text}")
    return answer.json()
