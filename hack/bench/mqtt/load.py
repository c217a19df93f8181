"""The load: devices that connect and leave, and pairs that publish and receive; each function runs in its own process.

Blocking sockets in threads: OpenSSL, which does nearly all of the work, holds no lock of Python's meanwhile.
"""

import os
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Final

from hack.front_door import packets
from hack.front_door.authority import trusting
from hack.front_door.device import Entrance, leave, open_session, sources

_THREADS: Final = 4
_IN_FLIGHT: Final = 16  # messages of one pair; below the 20 that a broker sends of QoS 1 without an answer
_PAYLOAD: Final = b"x" * 80  # a reading of a sensor, as JSON
_CHUNK: Final = 65536
_PATIENCE: Final = 60.0  # seconds
_all_ready: Final[list[Barrier]] = []


def prepare(barrier: Barrier) -> None:
    """Have a process of the load begin its work when all others do."""
    _all_ready.append(barrier)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to do, and for how many seconds from when all processes are ready."""

    entrance: Entrance
    authority: str  # PEM
    seconds: float


@dataclass(frozen=True)
class Done:
    """How much was done, and the processor seconds that doing it has taken."""

    count: int
    processor_s: float

    def __add__(self, other: "Done") -> "Done":
        return Done(self.count + other.count, self.processor_s + other.processor_s)


def connect(order: Order) -> Done:
    """Connect (TCP, TLS, CONNECT to CONNACK) and leave, again and again; return how many connections."""
    context, addresses = trusting(order.authority), _own_sources()

    def once() -> int:
        leave(open_session(order.entrance, context=context, source=next(addresses)))
        return 1

    return _repeat([once] * _THREADS, order)


def publish(order: Order, *, qos: int) -> Done:
    """Publish to subscribers, with so many in flight; return how many messages have been received."""
    context, addresses = trusting(order.authority), _own_sources()
    with ExitStack() as cleanup:

        def session() -> ssl.SSLSocket:
            return cleanup.enter_context(open_session(order.entrance, context=context, source=next(addresses)))

        pairs = [Pair(session(), session(), number=number, qos=qos) for number in range(_THREADS)]
        return _repeat([pair.exchange for pair in pairs], order)


class Pair:
    """A publisher and the only subscriber of its topic."""

    def __init__(self, publisher: ssl.SSLSocket, subscriber: ssl.SSLSocket, *, number: int, qos: int) -> None:
        """Take two sessions."""
        topic = b"bench/%07d/%d" % (os.getpid(), number)
        identifiers = range(1, _IN_FLIGHT + 1) if qos else [0] * _IN_FLIGHT
        self._packets = [packets.publish(topic, _PAYLOAD, identifier=identifier) for identifier in identifiers]
        # Header and length are a byte each, and what is received has the form of what was sent.
        self._size, self._identifier = len(self._packets[0]), slice(4 + len(topic), 6 + len(topic))
        self._publisher, self._subscriber, self._qos = publisher, subscriber, qos
        subscriber.sendall(packets.subscribe(topic, qos=qos))
        _receive(subscriber, len(b"\x90\x03\x00\x01\x00"))

    def exchange(self) -> int:
        """Send as many messages as may be in flight, each by itself as devices do, and wait for all of them."""
        for packet in self._packets:
            self._publisher.sendall(packet)
        if self._qos:
            self._receive_and_acknowledge()
            _receive(self._publisher, len(self._packets) * len(packets.acknowledge(b"\x00\x00")))
        else:
            _receive(self._subscriber, len(self._packets) * self._size)
        return len(self._packets)

    def _receive_and_acknowledge(self) -> None:
        waiting, rest = len(self._packets), b""
        while waiting:
            rest += _some(self._subscriber)
            whole = len(rest) // self._size
            answers = [
                packets.acknowledge(rest[start : start + self._size][self._identifier])
                for start in range(0, whole * self._size, self._size)
            ]
            if answers:
                self._subscriber.sendall(b"".join(answers))
            waiting, rest = waiting - whole, rest[whole * self._size :]


def _repeat(actions: list[Callable[[], int]], order: Order) -> Done:
    """Repeat each action in a thread of its own from the beginning to the end; what ends later does not count."""
    _all_ready[0].wait(_PATIENCE)
    end = time.monotonic() + order.seconds

    def repeat(action: Callable[[], int]) -> int:
        count = 0
        while True:
            done = action()
            if time.monotonic() > end:
                return count
            count += done

    before = time.process_time()
    with ThreadPoolExecutor(len(actions)) as pool:
        count = sum(pool.map(repeat, actions))
    return Done(count, time.process_time() - before)


def _receive(session: ssl.SSLSocket, size: int) -> None:
    while size > 0:
        size -= len(_some(session))


def _some(session: ssl.SSLSocket) -> bytes:
    if not (received := session.recv(_CHUNK)):
        raise ConnectionResetError("the broker hung up")
    return received


def _own_sources() -> Iterator[str]:
    """Return addresses that no other process of the load uses, as far as their number allows."""
    return sources(100 + os.getpid() % 100)
