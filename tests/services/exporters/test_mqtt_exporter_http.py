"""How the MQTT exporter serves: paths, bounds, health."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from prometheus_client import CollectorRegistry

from exporters.mqtt import server, settings
from exporters.mqtt.errors import ListenFailed
from exporters.mqtt.server import MetricsServer
from exporters.mqtt.statistics import Statistics
from exporters.mqtt.subscriber import Subscriber
from tests.support.servers import PATIENCE
from tests.support.waiting import eventually

HANGS = "the connection to the broker hangs since 301 s"


@contextmanager
def serving(*, problem: str = "", host: str = "127.0.0.1") -> Iterator[int]:
    """The port of a server without metrics."""
    running = MetricsServer(host, 0, registry=CollectorRegistry(), problem=lambda: problem)
    running.start()
    try:
        yield running.port
    finally:
        running.stop()


def get(port: int, path: str, *, host: str = "127.0.0.1", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def is_served(port: int) -> bool:
    try:
        return get(port, "/healthz") == (200, "ok\n")
    except (OSError, http.client.HTTPException):
        return False


def closes(connection: socket.socket) -> bool:
    """Wait for the other side to end a connection on which it says nothing."""
    connection.settimeout(PATIENCE)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 200),
        ("GET", "/metrics?name[]=mosquitto_up", 200),
        ("POST", "/metrics", 405),
        ("GET", "/healthz", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/healthz/../metrics", 404),
        ("GET", "/favicon.ico", 404),
    ],
)
def test_two_paths_are_served(method: str, path: str, status: int) -> None:
    with serving() as port:
        assert get(port, path, method=method)[0] == status


def test_health_tells_what_is_wrong() -> None:
    with serving(problem=HANGS) as port:
        assert get(port, "/healthz") == (503, f"{HANGS}\n")
        assert get(port, "/metrics")[0] == 200


def test_a_thread_that_makes_no_round_for_five_minutes_hangs() -> None:
    now = [1000.0]
    subscriber = Subscriber(settings.from_environment({}), statistics=Statistics(), clock=lambda: now[0])
    now[0] += 299
    before = subscriber.problem()
    now[0] += 2

    assert (before, subscriber.problem()) == ("", HANGS)


async def test_idle_connections_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LONGEST_CONNECTION", 3600.0)
    with serving() as port, ExitStack() as idle:
        for _ in range(server.MOST_CONNECTIONS):
            idle.enter_context(socket.create_connection(("127.0.0.1", port)))
        with socket.create_connection(("127.0.0.1", port)) as one_too_many:
            assert closes(one_too_many)

        idle.close()

        await eventually(lambda: is_served(port))


async def test_idle_connections_are_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LONGEST_CONNECTION", 0.1)
    with serving() as port, socket.create_connection(("127.0.0.1", port)) as idle:
        idle.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")

        assert closes(idle)


def test_nobody_is_asked_for_our_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(name: str = "") -> str:
        raise AssertionError(name)

    monkeypatch.setattr(socket, "getfqdn", never)

    with serving() as port:
        assert is_served(port)


def test_it_serves_over_ipv6() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving(host="::") as port:
        assert get(port, "/healthz", host="::1")[0] == 200


def test_a_port_that_is_taken_is_named() -> None:
    with serving() as port, pytest.raises(ListenFailed, match=rf"PORT, HOST: 127.0.0.1:{port} cannot be listened on"):
        MetricsServer("127.0.0.1", port, registry=CollectorRegistry(), problem=str)


def test_a_host_that_is_none_is_named() -> None:
    with pytest.raises(ListenFailed, match=r"PORT, HOST: host.invalid:0 cannot be listened on"):
        MetricsServer("host.invalid", 0, registry=CollectorRegistry(), problem=str)
