"""HAProxy's own part, with the product's configuration: which connection goes to which broker, and which to none."""

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest

from mqtt_router.routes import Route
from tests.services.router.conftest import HOSTS, OpenDoor, front_doors
from tests.support.front_door import CONFIGURATION, Authority, Device, FrontDoor, Tenant, find_haproxy
from tests.support.servers import PATIENCE, Server
from tests.support.waiting import wait_until

ACME, GLOBEX, INITECH = HOSTS
# Seconds, for what takes milliseconds: enough for a busy machine, and well below the delay for half a ClientHello.
SOON = 2.0
HALF_OPEN = 500


@pytest.fixture(scope="module")
def door(brokers: dict[str, Tenant]) -> Iterator[FrontDoor]:
    """An open front door with a route to every broker."""
    with front_doors() as make:
        door = make()
        door.write(*(tenant.route for tenant in brokers.values()))
        door.start()
        yield door


def client_hello(host: str | None, *, size: int = 0) -> bytes:
    """Return the first bytes of a device; with a size, of one whose offer of protocols fills as many bytes."""
    context = ssl.create_default_context()
    if size:
        context.set_alpn_protocols(["x" * 255] * (size // 256))
    context.check_hostname = host is not None
    context.verify_mode = ssl.CERT_REQUIRED if host else ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=host).do_handshake()
    return outgoing.read()


def time_until_rejected(door: FrontDoor, *pieces: bytes) -> float:
    """Send pieces, and return the seconds from the last of them until the connection is closed without an answer."""
    began = time.monotonic()
    # It is reset when there was more to read than has been read.
    with (
        suppress(ConnectionResetError, BrokenPipeError),
        socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE) as connection,
    ):
        for piece in pieces:
            connection.sendall(piece)
            began = time.monotonic()
        assert connection.recv(1) == b""
    return time.monotonic() - began


def visits(brokers: dict[str, Tenant]) -> dict[str, int]:
    return {host: tenant.visits() for host, tenant in brokers.items()}


def connections(brokers: dict[str, Tenant]) -> dict[str, int]:
    """Count what has come as far as TCP."""
    return {host: tenant.broker.server.log.count("New connection from") for host, tenant in brokers.items()}


def test_the_configuration_is_accepted_without_a_warning(open_door: OpenDoor) -> None:
    door = open_door()
    door.write()

    # -dW makes warnings errors.
    done = subprocess.run(
        [find_haproxy(), "-c", "-dW", "-f", CONFIGURATION], env=door.environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_device_reaches_the_broker_of_its_host_and_no_other(
    door: FrontDoor, brokers: dict[str, Tenant], authority: Authority, host: str, version: ssl.TLSVersion
) -> None:
    before, context = visits(brokers), authority.context()
    context.minimum_version = context.maximum_version = version

    # The certificate is verified against the host, and is the broker's own.
    device = await Device.connect(door.port, host=host, context=context)
    await device.ping()
    await device.close()

    assert visits(brokers) == {**before, host: before[host] + 1}


async def test_the_case_of_a_host_does_not_matter(
    door: FrontDoor, brokers: dict[str, Tenant], authority: Authority
) -> None:
    context = authority.context()
    context.check_hostname = False

    device = await Device.connect(door.port, host=ACME.upper(), context=context)
    await device.close()


async def test_a_broker_that_shows_another_hosts_certificate_is_not_believed(
    open_door: OpenDoor, brokers: dict[str, Tenant], authority: Authority
) -> None:
    door, other = open_door(), brokers[GLOBEX].broker
    door.write(Route(ACME, other.address, other.port))
    door.start()

    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await Device.connect(door.port, host=ACME, context=authority.context())


def pieces_of(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


REJECTED = {
    "an unknown host": [client_hello("mqtt.umbrella.iot.example.com")],
    "the parent domain of a host": [client_hello("iot.example.com")],
    "a name below a host": [client_hello(f"x.{ACME}")],
    "no host": [client_hello(None)],
    "plain HTTP": [b"GET / HTTP/1.1\r\nHost: mqtt.acme.iot.example.com\r\n\r\n"],
    "plain MQTT": [b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06device"],
    "a byte that no TLS begins with": [b"\x00"],
    "64 KiB of garbage": [bytes(range(1, 256)) * 257],
    "a ClientHello of more than 16 KiB": [client_hello(ACME, size=16_500)],
    "a record that says it is larger than any": [b"\x16\x03\x01\xff\xff\x01\x00\xff\xfb\x03\x03", bytes(16_384)],
    "an unknown host in single bytes": pieces_of(client_hello("mqtt.umbrella.iot.example.com")),
}


@pytest.mark.parametrize("what", REJECTED)
async def test_what_names_no_route_is_rejected_at_once_and_reaches_no_broker(
    door: FrontDoor, brokers: dict[str, Tenant], authority: Authority, what: str
) -> None:
    device = await Device.connect(door.port, host=GLOBEX, context=authority.context())
    before = connections(brokers)

    took = await asyncio.to_thread(time_until_rejected, door, *REJECTED[what])

    assert took < SOON
    assert connections(brokers) == before
    await device.ping()
    await device.close()


def old_hello(host: str) -> bytes:
    """Return a ClientHello of TLS 1.1, which this machine's OpenSSL would not make any more."""
    hello = bytearray(client_hello(host))
    hello[9:11] = b"\x03\x02"
    return bytes(hello)


def test_an_older_tls_than_1_2_is_rejected_at_once(door: FrontDoor, brokers: dict[str, Tenant]) -> None:
    before = connections(brokers)

    assert time_until_rejected(door, old_hello(ACME)) < SOON
    assert connections(brokers) == before


def test_half_a_client_hello_is_rejected_after_the_delay(open_door: OpenDoor, brokers: dict[str, Tenant]) -> None:
    door, hello = open_door(ROUTER_HELLO_DELAY="700ms"), client_hello(ACME)
    door.write(brokers[ACME].route)
    door.start()

    assert 0.6 < time_until_rejected(door, hello[: len(hello) // 2]) < 0.7 + SOON


def test_a_client_hello_in_single_bytes_arrives(door: FrontDoor) -> None:
    with socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces_of(client_hello(ACME)):
            connection.sendall(piece)

        assert connection.recv(3)[:2] == b"\x16\x03"  # the broker's ServerHello


@pytest.fixture
def half_open(door: FrontDoor) -> Iterator[list[socket.socket]]:
    """Connections that have begun to say something."""
    hello = client_hello(ACME)[:40]
    connections = []
    for _ in range(HALF_OPEN):
        connection = socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE)
        connection.sendall(hello)
        connections.append(connection)
    yield connections
    for connection in connections:
        connection.close()


async def time_of_connections(door: FrontDoor, context: ssl.SSLContext) -> float:
    """Return the least of the seconds that a device needs to be let in: what the machine does beside it is no delay."""
    times = []
    for _ in range(9):
        began = time.monotonic()
        device = await Device.connect(door.port, host=GLOBEX, context=context)
        times.append(time.monotonic() - began)
        await device.close()
    return min(times)


async def test_half_open_connections_do_not_delay_a_good_one(
    door: FrontDoor, authority: Authority, request: pytest.FixtureRequest
) -> None:
    context = authority.context()
    alone = await time_of_connections(door, context)
    half_open = request.getfixturevalue("half_open")
    await asyncio.to_thread(wait_until, lambda: door.connections() >= len(half_open))

    beside = await time_of_connections(door, context)

    assert beside < alone + 0.1, f"{1000 * beside:.0f} ms instead of {1000 * alone:.0f} ms"


async def test_a_broker_that_is_away_is_told_at_once_and_harms_no_other(
    open_door: OpenDoor, brokers: dict[str, Tenant], authority: Authority
) -> None:
    door, away = open_door(), Route(ACME, "127.0.0.99", brokers[ACME].broker.port)
    door.write(away, brokers[GLOBEX].route)
    door.start()
    device = await Device.connect(door.port, host=GLOBEX, context=authority.context())

    assert await asyncio.to_thread(time_until_rejected, door, client_hello(ACME)) < SOON
    await device.ping()
    await device.close()


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


def test_a_value_without_an_address_is_rejected_and_not_sent_back_to_the_front_door(
    open_door: OpenDoor, brokers: dict[str, Tenant]
) -> None:
    door = open_door()
    door.write(brokers[ACME].route)
    door.start()
    before = door.accepted()
    door.ask(f"set map {door.map_file} {ACME} nowhere/{door.port}")

    assert time_until_rejected(door, client_hello(ACME)) < SOON
    # A loop would have gone on until there are no connections left; the knock of the start may be counted late.
    assert door.accepted() <= before + 2


async def test_after_a_soft_stop_devices_stay_for_the_time_of_the_drain_and_nobody_new_is_let_in(
    open_door: OpenDoor, brokers: dict[str, Tenant], authority: Authority
) -> None:
    door, context = open_door(ROUTER_DRAIN="2s"), authority.context()
    door.write(brokers[ACME].route)
    door.start()
    device = await Device.connect(door.port, host=ACME, context=context)

    door.server.send_signal(signal.SIGUSR1)
    await asyncio.to_thread(wait_until, lambda: not answers_at_all(door))

    await device.ping()
    began = time.monotonic()
    await device.ended()
    assert time.monotonic() - began < 2 + SOON


def answers_at_all(door: FrontDoor) -> bool:
    try:
        socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


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

    for _ in range(100):
        knock(door, source="127.0.1.1")
    for number in range(1, 201):
        knock(door, source=f"127.0.2.{number}")

    # Whatever is written, is written before it ends; a busy machine may have taken more than ten seconds.
    door.server.stop()
    assert 5 <= lines_of(door, "127.0.1.1:") <= 10
    assert 10 <= lines_of(door) <= 80


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


def test_health_and_metrics_are_served_and_nothing_else(door: FrontDoor) -> None:
    address = f"http://127.0.0.1:{door.health_port}"
    with urllib.request.urlopen(f"{address}/healthz", timeout=PATIENCE) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"{address}/metrics", timeout=PATIENCE) as answer:
        assert b"haproxy_process_current_connections" in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}/stats", timeout=PATIENCE)
