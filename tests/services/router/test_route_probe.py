"""What the operator's probe says of each thing that can be wrong on the way to a broker: all of it is real."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from customer_operator.credentials import certificates
from customer_operator.reachability.outcome import Step
from customer_operator.reachability.session import probe
from customer_operator.reachability.target import Target
from hack.ports import PortReservation
from mqtt_router import mapping
from mqtt_router.routes import Route
from tests.support.front_door import Authority, FrontDoor
from tests.support.mqtt import Login
from tests.support.plain_broker import PlainBroker
from tests.support.servers import PATIENCE
from tests.support.waiting import wait_until

HOST = "mqtt.acme.iot.example.com"
TOPIC = "route_probe/echo"
LOGIN = Login("route_probe", "the-probes-password")
OTHER = Login("no_rights", "the-probes-password")
RIGHTS = (f"user {LOGIN.username}", f"topic readwrite {TOPIC}")
# Seconds a try may take that is to run out of time, behind a handshake that takes a busy machine some tenths of one.
QUICKLY = 2.0
ADDRESSES = {name: f"127.0.0.{number}" for number, name in enumerate(("good", "other", "foreign", "expired"), start=31)}


@pytest.fixture(scope="module")
def brokers(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, PlainBroker]]:
    """One broker for each kind of certificate, on one port, at addresses of their own."""
    now, ports = datetime.now(UTC), PortReservation(1)
    before = now - certificates.LIFETIME - timedelta(days=1)
    pairs = {
        "good": certificates.issue(authority.pair, hosts=[HOST], now=now),
        "other": certificates.issue(authority.pair, hosts=["other.example"], now=now),
        "foreign": certificates.issue(certificates.create_authority(now=now), hosts=[HOST], now=now),
        "expired": certificates.issue(authority.pair, hosts=[HOST], now=before),
    }
    with ExitStack() as cleanup:
        cleanup.callback(ports.release)
        found = {}
        for name, pair in pairs.items():
            folder = tmp_path_factory.mktemp(name)
            files = {"certfile": folder / "tls.crt", "keyfile": folder / "tls.key"}
            files["certfile"].write_text(pair.certificate)
            files["keyfile"].write_text(pair.private_key)
            broker = PlainBroker(
                folder,
                logins=[LOGIN, OTHER],
                listener=files,
                topics=RIGHTS,
                address=ADDRESSES[name],
                port=ports.ports[0],
            )
            cleanup.callback(broker.close)
            broker.start()
            found[name] = broker
        yield found


@pytest.fixture
def door_to(door: FrontDoor, brokers: dict[str, PlainBroker]) -> FrontDoor:
    """A front door that leads to one of them: a test says to which."""
    lead(door, brokers["good"])
    return door


def lead(door: FrontDoor, broker: PlainBroker) -> None:
    """Have the front door's only route lead to a broker."""
    door.ask(f"clear map {door.map_file}")
    door.ask(f"add map {door.map_file} {HOST} {_value(Route(HOST, broker.address, broker.port))}")


def _value(route: Route) -> str:
    return mapping.values_of({route.host: route})[route.host]


@pytest.fixture
def target(door_to: FrontDoor, authority: Authority) -> Target:
    """A device of the good broker."""
    return Target(
        host=HOST,
        address="127.0.0.1",
        port=door_to.port,
        topic=TOPIC,
        username=LOGIN.username,
        password=str(LOGIN.password),
        trust=authority.pair.certificate,
    )


def failure(target: Target, *, timeout: float = PATIENCE) -> tuple[Step, str]:
    """Return the step at which a try fails, and what it says, which is nothing secret."""
    outcome = probe(target, timeout)
    assert outcome.failure is not None
    assert target.password not in str(outcome.failure)
    return outcome.failure.step, str(outcome.failure)


def test_a_device_that_gets_its_message_back_has_reached_the_broker(target: Target) -> None:
    outcome = probe(target, PATIENCE)

    assert outcome.failure is None
    assert 0 < outcome.seconds < PATIENCE


def test_it_says_goodbye_and_leaves_no_session(target: Target, brokers: dict[str, PlainBroker]) -> None:
    server = brokers["good"].server
    before = len(server.log)

    assert probe(target, PATIENCE).failure is None

    # An end without a DISCONNECT reads "closed its connection".
    wait_until(lambda: re.search(r"Client route_probe-\w+ disconnected\.", server.log[before:]))
    assert re.search(r"connected from \S+ as route_probe-\w+ \(p2, c1, k60, u'route_probe'\)", server.log[before:])


def test_a_name_that_nobody_knows_fails_at_the_name(target: Target) -> None:
    found = failure(replace(target, address="router.invalid"))

    assert found == (Step.RESOLVE, "resolve: no address is known for router.invalid")


def test_a_port_at_which_nobody_listens_fails_at_the_connection(target: Target) -> None:
    ports = PortReservation(1)
    try:
        found = failure(replace(target, port=ports.ports[0]))
    finally:
        ports.release()

    assert found == (Step.CONNECT, f"connect: 127.0.0.1:{ports.ports[0]} refuses")


def test_a_host_that_is_not_on_the_map_fails_at_tls(target: Target) -> None:
    step, message = failure(replace(target, host="mqtt.globex.iot.example.com"))

    assert step is Step.TLS
    assert "no route for mqtt.globex.iot.example.com" in message


def test_a_broker_that_is_away_fails_at_tls(
    door_to: FrontDoor, target: Target, brokers: dict[str, PlainBroker]
) -> None:
    door_to.ask(f"set map {door_to.map_file} {HOST} {_value(Route(HOST, '127.0.0.99', brokers['good'].port))}")

    step, message = failure(target)

    assert step is Step.TLS
    assert "its broker is away" in message


@pytest.mark.parametrize(
    ("broker", "message"),
    [
        ("other", f"certificate: it is for other.example, not for {HOST}"),
        ("foreign", "certificate: it is not signed by the authority that devices trust"),
        ("expired", "certificate: it has expired"),
    ],
)
def test_a_certificate_is_checked_as_a_device_does(
    door_to: FrontDoor, target: Target, brokers: dict[str, PlainBroker], broker: str, message: str
) -> None:
    lead(door_to, brokers[broker])

    assert failure(target) == (Step.CERTIFICATE, message)


def test_without_an_authority_of_its_own_a_broker_has_to_have_one_that_the_system_trusts(target: Target) -> None:
    step, message = failure(replace(target, trust=None))

    assert (step, message) == (Step.CERTIFICATE, "certificate: it is not signed by the authority that devices trust")


def test_a_wrong_password_fails_with_the_brokers_code(target: Target) -> None:
    assert failure(replace(target, password="wrong")) == (Step.CONNACK, "CONNACK 5: not authorized")


def test_without_the_right_to_its_topic_nothing_comes_back(target: Target) -> None:
    step, message = failure(replace(target, username=OTHER.username), timeout=QUICKLY)

    assert step is Step.ECHO
    assert f"what is published on {TOPIC} does not come back" in message


def test_a_broker_that_hangs_after_it_has_taken_the_connection_fails_when_time_is_up(
    target: Target, brokers: dict[str, PlainBroker]
) -> None:
    brokers["good"].freeze()
    try:
        outcome = probe(target, QUICKLY)
    finally:
        brokers["good"].thaw()

    assert outcome.failure is not None
    assert (outcome.failure.step, str(outcome.failure)) == (Step.TLS, "TLS: the handshake is not over within 2 s")
    assert QUICKLY <= outcome.seconds < PATIENCE


class HalfABroker:
    """Shakes hands, then answers with these bytes, one lot for each packet that comes, and is silent afterwards."""

    def __init__(self, pair: certificates.KeyPair, folder: Path, answers: Sequence[bytes]) -> None:
        (folder / "both.pem").write_text(pair.certificate + pair.private_key)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "both.pem")
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        plain, _ = self._listener.accept()
        plain.settimeout(PATIENCE)
        with self._context.wrap_socket(plain, server_side=True) as connection:
            try:
                for answer in self._answers:
                    connection.recv(65536)
                    connection.sendall(answer)
                while connection.recv(65536):
                    pass
            except OSError:  # the client has gone
                return


CONNACK, SUBACK, REFUSAL = b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x01", b"\x90\x03\x00\x01\x80"
FLOOD = b"\x30\xff\xff\xff\x7f" + bytes(100_000)


@pytest.mark.parametrize(
    ("answers", "timeout", "step", "message"),
    [
        ([], QUICKLY, Step.CONNACK, "CONNACK: it does not answer the login within 2 s"),
        ([b"\x20\x02\x00\x03"], PATIENCE, Step.CONNACK, "CONNACK 3: the broker's login is out of service"),
        ([CONNACK], QUICKLY, Step.ECHO, f"echo: the subscription to {TOPIC} is not answered within 2 s"),
        ([b"\x20\x00"], PATIENCE, Step.CONNACK, "CONNACK: the connection is closed without an answer"),
        ([CONNACK, b"\x90\x02\x00\x01"], PATIENCE, Step.ECHO, "echo: what the broker answers is no MQTT"),
        ([CONNACK, REFUSAL], PATIENCE, Step.ECHO, f"echo: the subscription to {TOPIC} is refused"),
        ([CONNACK, SUBACK], QUICKLY, Step.ECHO, f"echo: what is published on {TOPIC} is not acknowledged within 2 s"),
        ([CONNACK, FLOOD], PATIENCE, Step.ECHO, "echo: the connection is closed without an answer"),
    ],
    ids=[
        "no CONNACK",
        "out of service",
        "no SUBACK",
        "half a CONNACK",
        "empty SUBACK",
        "refused",
        "no PUBACK",
        "256 MiB",
    ],
)
def test_each_answer_of_the_broker_that_is_missing_or_wrong_is_named(
    target: Target,
    authority: Authority,
    tmp_path: Path,
    answers: Sequence[bytes],
    timeout: float,
    step: Step,
    message: str,
) -> None:
    broker = HalfABroker(certificates.issue(authority.pair, hosts=[HOST], now=datetime.now(UTC)), tmp_path, answers)
    try:
        assert failure(replace(target, port=broker.port), timeout=timeout) == (step, message)
    finally:
        broker.close()


def test_somebody_elses_message_on_the_topic_is_not_taken_for_ours(
    target: Target, authority: Authority, tmp_path: Path
) -> None:
    topic = TOPIC.encode()
    foreign = len(topic).to_bytes(2) + topic + b"not the token"
    message = b"\x30" + bytes([len(foreign)]) + foreign
    answers = [CONNACK, SUBACK, b"\x40\x02\x00\x02" + message]
    broker = HalfABroker(certificates.issue(authority.pair, hosts=[HOST], now=datetime.now(UTC)), tmp_path, answers)
    try:
        step, text = failure(replace(target, port=broker.port), timeout=QUICKLY)
    finally:
        broker.close()

    assert step is Step.ECHO
    assert "does not come back" in text
