"""The program as it is started: by a user with bad settings, and by the pod that the operator builds."""

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from customer_operator.components import mosquitto, mqtt_exporter, stack
from customer_operator.naming import Manifest
from exporters.mqtt.settings import VARIABLES
from tests.services.conftest import MakeBroker, Tenant
from tests.services.exporters.conftest import StartBroker, StartExporter, scraped
from tests.support.generate import make_context
from tests.support.mqtt import Login
from tests.support.pods import Pod
from tests.support.servers import Server

PROJECT = Path(__file__).parents[3]


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status and output of an exporter that should not start."""
    command = [sys.executable, "-m", "exporters.mqtt", *arguments]
    process = Server(command, environment={"PYTHONPATH": str(PROJECT), **environment})
    return process.wait(), process.log


def pod(manifests: list[Manifest], root: Path) -> Pod:
    return Pod(manifests, workload="mqtt-exporter", root=root)


@pytest.mark.parametrize(("argument", "expected"), [("--help", 0), ("-h", 0), ("--port=9234", 64)])
def test_an_argument_starts_nothing_and_is_answered_with_the_variables_there_are(argument: str, expected: int) -> None:
    status, log = run(argument)

    assert status == expected
    assert [line.split()[0] for line in log.splitlines()[1:]] == [name for name, _, _ in VARIABLES]
    assert "address to serve the metrics on; `::` for IPv6 (0.0.0.0)\n" in log


def test_bad_settings_are_all_named_and_no_password_is() -> None:
    status, log = run(PORT="x", MQTT_BROKER="mosquitto", MQTT_PASSWORD="a-secret")

    assert status == 78
    assert log == (
        "mqtt-exporter cannot start:\n"
        "MQTT_BROKER: must be mqtt://host:port, or mqtts://host:port for TLS\n"
        "PORT: must be a whole number from 0 to 65535\n"
        "MQTT_USERNAME: must be set, for there is a password\n"
    )


def test_a_file_that_is_missing_is_named_before_anything_starts() -> None:
    status, log = run(MQTT_USERNAME="exporter", MQTT_PASSWORD_FILE="/absent")

    assert status == 78
    assert log.endswith(
        "MQTT_PASSWORD_FILE: its file cannot be read (No such file or directory); mount it, or unset the variable\n"
    )


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        status, log = run(HOST="127.0.0.1", PORT=str(port))

    assert status == 78
    assert f"PORT, HOST: 127.0.0.1:{port} cannot be listened on (Address already in use)" in log


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    return stack.objects(make_context())


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_the_pod_is_alive_and_ready_while_there_is_no_broker(
    manifests: list[Manifest], start_exporter: StartExporter, tmp_path: Path, probe: str
) -> None:
    """Otherwise a broker that is away would have its exporter restarted, and nobody would be told up 0."""
    request: dict[str, Any] = pod(manifests, tmp_path).container("mqtt-exporter")[probe]["httpGet"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    exporter = start_exporter(port)
    exporter.server.wait_for("it cannot be reached: Connection refused")

    assert exporter.get(request["path"])[0] == 200
    assert request["port"] == "metrics"


async def test_the_pods_environment_is_all_it_needs(
    manifests: list[Manifest], start_broker: StartBroker, start_exporter: StartExporter, tmp_path: Path
) -> None:
    environment = pod(manifests, tmp_path).environment("mqtt-exporter")
    broker = start_broker(logins=[Login(environment["MQTT_USERNAME"], environment["MQTT_PASSWORD"])])
    assert environment["PORT"] == str(mqtt_exporter.PORT) == "9234"
    assert environment["MQTT_BROKER"] == mosquitto.URL

    # Name and ports are the cluster's; nothing else differs.
    exporter = start_exporter(broker.port, **{**environment, "PORT": "0", "MQTT_BROKER": local(broker.port)})

    await scraped(exporter, lambda found: found.up)


async def test_the_generated_broker_lets_it_in_and_tells_it_everything(
    tenant: Tenant, make_broker: MakeBroker, start_exporter: StartExporter, tmp_path: Path
) -> None:
    broker = make_broker(changes={"sys_interval 10": "sys_interval 1"})
    broker.start()
    environment = pod(tenant.manifests, tmp_path).environment("mqtt-exporter")

    exporter = start_exporter(broker.plain, **{**environment, "PORT": "0", "MQTT_BROKER": local(broker.plain)})

    await scraped(exporter, lambda found: "mosquitto_broker_load_connections_15min" in found.names())
    broker.close()


def local(port: int) -> str:
    return f"mqtt://127.0.0.1:{port}"
