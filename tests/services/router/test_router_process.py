"""mqtt-router as it is started: with bad settings, without HAProxy, and until it is told to stop."""

import socket
import sys
from pathlib import Path

import pytest

from hack.paths import PROJECT_ROOT
from mqtt_router.routes import Route
from mqtt_router.settings import Settings
from tests.services.router.conftest import OpenDoor
from tests.support.front_door import RouterProcess
from tests.support.servers import Server
from tests.support.waiting import eventually

# Leads to where nobody listens.
KUBECONFIG = (
    "{apiVersion: v1, kind: Config, clusters: [{name: x, cluster: {server: 'http://127.0.0.1:1'}}], users: [],"
    " contexts: [{name: x, context: {cluster: x, user: ''}}], current-context: x}"
)


@pytest.fixture
def nowhere(tmp_path: Path) -> str:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    return str(path)


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status and output of a router that should not start."""
    command = [sys.executable, "-m", "mqtt_router", *arguments]
    process = Server(command, environment={"PYTHONPATH": str(PROJECT_ROOT / "operator"), **environment})
    return process.wait(), process.log


@pytest.mark.parametrize(("argument", "expected"), [("--help", 0), ("-h", 0), ("--port=1", 64)])
def test_an_argument_starts_nothing_and_is_answered_with_the_variables_there_are(argument: str, expected: int) -> None:
    status, log = run(argument)

    assert status == expected
    assert [line.split()[0] for line in log.splitlines()[1:]] == [name.upper() for name in Settings.model_fields]


def test_bad_settings_are_all_named() -> None:
    status, log = run(PROBE_PORT="x", MAP_FILE="routes.map")

    assert status == 78
    assert log == (
        "mqtt-router cannot start:\n"
        "MAP_FILE must be an absolute path of letters, digits, dots, dashes and underscores; it is 'routes.map'\n"
        "PROBE_PORT must be a whole number; it is 'x'\n"
    )


def test_without_a_way_to_the_api_server_it_does_not_start(tmp_path: Path) -> None:
    status, log = run(MAP_FILE=str(tmp_path / "routes.map"))

    assert status == 78
    assert "KUBECONFIG must name a kubeconfig that can be used; this is no pod with a ServiceAccount's token" in log


@pytest.mark.parametrize("text", ["", "{}", "a: [", "\x00", None])
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)

    status, log = run(MAP_FILE=str(tmp_path / "routes.map"), KUBECONFIG=str(path))

    assert status == 78
    assert f"KUBECONFIG must name a kubeconfig that can be used; it is '{path}'" in log
    assert "Traceback" not in log


def test_a_port_that_is_taken_is_named(tmp_path: Path, nowhere: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, log = run(
            PROBE_HOST="127.0.0.1", PROBE_PORT=port, KUBECONFIG=nowhere, MAP_FILE=str(tmp_path / "routes.map")
        )

    assert status == 78
    assert f"PROBE_PORT, PROBE_HOST: 127.0.0.1:{port} cannot be listened on" in log


def test_it_makes_the_file_without_which_haproxy_would_not_start(open_door: OpenDoor, nowhere: str) -> None:
    door = open_door()

    router = RouterProcess(door, KUBECONFIG=nowhere)
    assert door.map_file.read_text() == ""
    door.start()

    assert router.get("/livez") == (200, "ok\n")
    assert router.server.stop() == 0


async def test_without_haproxy_it_is_alive_and_not_ready_and_goes_on_when_there_is_one(
    open_door: OpenDoor, nowhere: str
) -> None:
    door, kept = open_door(), Route("mqtt.acme.iot.example.com", "127.0.0.2", 8883)
    door.write(kept)

    router = RouterProcess(door, KUBECONFIG=nowhere)
    await eventually(lambda: router.metric("mqtt_router_errors_total", what="haproxy") >= 2)
    assert router.get("/livez") == (200, "ok\n")
    assert "No such file or directory" in router.unready()
    assert router.metric("mqtt_router_in_sync") == 0
    door.start()
    await eventually(lambda: not router.unready())

    assert router.metric("mqtt_router_in_sync") == 1
    # Whoever reads the log is told once.
    assert router.server.log.count("haproxy.sock: No such file") == 1
    assert router.server.stop() == 0
