"""What HAProxy bounds: connections of one source, and of all, lines of its log, descriptors."""

import os
import socket
import time
import urllib.request
from contextlib import suppress

import pytest

from tests.services.router.conftest import HOSTS, OpenDoor
from tests.support.client_hellos import SOON, client_hello, time_until_rejected
from tests.support.front_door import CONFIGURATION, FrontDoor, Tenant, find_haproxy
from tests.support.servers import PATIENCE, Server
from tests.support.waiting import wait_until

ACME, *_ = HOSTS


def test_a_source_with_too_many_connections_gets_no_more(open_door: OpenDoor, brokers: dict[str, Tenant]) -> None:
    door = open_door(ROUTER_SOURCE_CONNECTIONS="3")
    door.write(brokers[ACME].route)
    door.start()
    hello = client_hello(ACME)
    held = [socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE) for _ in range(3)]
    for connection in held:
        connection.sendall(hello)
        assert connection.recv(1) == b"\x16"

    assert time_until_rejected(door, hello) < SOON

    held.pop().close()
    wait_until(lambda: answers(door, hello))
    for connection in held:
        connection.close()


def answers(door: FrontDoor, hello: bytes) -> bool:
    """Tell whether a broker answers to a ClientHello."""
    with (
        suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE) as connection,
    ):
        connection.sendall(hello)
        return connection.recv(1) == b"\x16"
    return False


def test_all_addresses_of_an_ipv6_subscriber_are_one_source(open_door: OpenDoor) -> None:
    """Whoever has one has 2^64 of them (RFC 6177), which would make the limits none."""
    door = open_door()
    door.environment["ROUTER_BIND"] = f":::{door.port}"
    door.write()
    door.start()

    for address in ("::1", "127.0.0.1"):
        socket.create_connection((address, door.port), timeout=PATIENCE).close()

    wait_until(lambda: {"key=::", "key=::ffff:127.0.0.1"} <= set(door.ask("show table sources").split()))


def test_a_source_that_comes_too_often_has_to_wait(open_door: OpenDoor, brokers: dict[str, Tenant]) -> None:
    door = open_door(ROUTER_SOURCE_RATE="20")
    door.write(brokers[ACME].route)
    door.start()
    hello = client_hello(ACME)

    let_in = [answers(door, hello) for _ in range(40)]

    assert let_in[:10] == [True] * 10
    assert not any(let_in[25:])


def is_healthy(door: FrontDoor) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{door.health_port}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except TimeoutError:
        return False


def test_one_that_is_full_is_not_ready_until_a_device_goes(open_door: OpenDoor, brokers: dict[str, Tenant]) -> None:
    door = open_door(ROUTER_MAXCONN="3")
    door.write(brokers[ACME].route)
    door.start()
    wait_until(lambda: is_healthy(door))
    held = [socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE) for _ in range(3)]
    for connection in held:
        connection.sendall(client_hello(ACME))
        assert connection.recv(1) == b"\x16"

    wait_until(lambda: not is_healthy(door))

    held.pop().close()
    wait_until(lambda: is_healthy(door))
    for connection in held:
        connection.close()


def knock(door: FrontDoor, *, source: str, data: bytes = b"GET / HTTP/1.1\r\n\r\n") -> None:
    """Come from an address of this machine, say something that is no TLS unless told otherwise, and be rejected."""
    with (
        suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE, source_address=(source, 0)) as connection,
    ):
        if data:
            connection.sendall(data)
            assert connection.recv(1) == b""


def lines_of(door: FrontDoor, source: str = "127.0.") -> int:
    """Count what has been logged of the connections from some address."""
    return sum(line.startswith(source) and " mqtt_tls " in line for line in door.server.log.splitlines())


def test_one_source_and_all_together_fill_the_log_only_as_far_as_it_can_bear(open_door: OpenDoor) -> None:
    door = open_door(ROUTER_LOG_SOURCE_RATE="5", ROUTER_LOG_RATE="20")
    door.write()
    door.start()

    began = time.monotonic()
    for _ in range(100):
        knock(door, source="127.0.1.1")
    for number in range(1, 201):
        knock(door, source=f"127.0.2.{number}")

    # Whatever is written, is written before it ends. The rates are of ten seconds each, and a busy machine takes more.
    windows = 2 + int((time.monotonic() - began) / 10)
    door.server.stop()
    assert 5 <= lines_of(door, "127.0.1.1:") <= 5 * windows
    assert 10 <= lines_of(door) <= 20 * windows


def test_who_says_nothing_is_not_logged(open_door: OpenDoor) -> None:
    door = open_door()
    door.write()
    door.start()

    knock(door, source="127.0.1.1", data=b"")
    knock(door, source="127.0.1.2")
    wait_until(lambda: lines_of(door, "127.0.1.2:") == 1)

    door.server.stop()
    assert lines_of(door) == 1


def start_with_descriptors(door: FrontDoor, count: int) -> Server:
    """Start HAProxy as somebody who has so many descriptors and, as in its container, no right to more."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    limited = ["prlimit", f"--nofile={count}:{count}", *(nobody if os.geteuid() == 0 else [])]
    return Server([*limited, str(find_haproxy()), "-W", "-db", "-f", str(CONFIGURATION)], environment=door.environment)


@pytest.mark.parametrize(("threads", "needed"), [(1, 2027), (8, 2048)])
def test_with_too_few_descriptors_it_does_not_start_and_says_how_many_it_needs(
    open_door: OpenDoor, threads: int, needed: int
) -> None:
    """The page says: twice the connections, three for each thread, and 24."""
    door = open_door(ROUTER_MAXCONN="1000", ROUTER_THREADS=str(threads))
    door.write()
    for path in (door.map_file.parent.parent, door.map_file.parent, door.map_file):
        path.chmod(0o777)

    refused = start_with_descriptors(door, needed - 1)
    assert refused.wait() != 0
    assert f"Cannot raise FD limit to {needed}, limit is {needed - 1}." in refused.log

    started = start_with_descriptors(door, needed)
    started.wait_for_port(door.port)
    started.stop()
