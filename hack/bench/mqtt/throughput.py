"""Connections and messages per second: through the front door, straight to the broker, by turns."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Final

from hack.bench.__main__ import say
from hack.bench.mqtt import load
from hack.bench.mqtt.load import Done, Order
from hack.front_door import Authority, Broker, Entrance, FrontDoor
from hack.processes import processor_seconds
from mqtt_router.routes import Route

HOST: Final = "mqtt.acme.iot.example.com"
_PROCESSES: Final = 2
_SETTLE: Final = 0.2  # seconds until the last connection of a leg is forgotten


@dataclass(frozen=True)
class Leg:
    """One measurement: how much per second, and how many processors load, broker and HAProxy took for it."""

    per_second: float
    load: float
    broker: float
    haproxy: float


@dataclass
class Comparison:
    """Legs of one kind of work by turns, through the front door and straight."""

    what: str
    through: list[Leg] = field(default_factory=list)
    straight: list[Leg] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The median of the ratios, pair by pair, so that it holds while the machine's speed drifts."""
        pairs = zip(self.through, self.straight, strict=True)
        return median(one.per_second / other.per_second for one, other in pairs)


def compare(folder: Path, *, pairs: int, seconds: float) -> list[Comparison]:
    """Compare connections, messages of QoS 0, and of QoS 1; the first pair of each warms up, and is left out."""
    authority = Authority.create()
    # All ports are the broker's, as with Services: the door has others, on 127.0.0.1.
    door = FrontDoor(folder)
    broker = Broker(folder, tls=authority.files(folder, host=HOST), addresses=["127.0.0.9"], port=door.port)
    door.write(Route(HOST, "127.0.0.9", broker.port))
    door.start()
    ways = (Entrance("127.0.0.1", door.port, HOST), Entrance("127.0.0.9", broker.port, HOST))
    works: list[tuple[str, Callable[[Order], Done]]] = [
        ("connections", load.connect),
        ("messages of QoS 0", partial(load.publish, qos=0)),
        ("messages of QoS 1", partial(load.publish, qos=1)),
    ]
    try:
        spawn = get_context("spawn")
        ready = (spawn.Barrier(_PROCESSES),)
        with ProcessPoolExecutor(_PROCESSES, mp_context=spawn, initializer=load.prepare, initargs=ready) as pool:
            subject = _Subject(pool, authority.pair.certificate, seconds, broker.pid, door.worker())
            return [_compare(subject, what, work, ways=ways, pairs=pairs) for what, work in works]
    finally:
        door.close()
        broker.close()


@dataclass(frozen=True)
class _Subject:
    pool: ProcessPoolExecutor
    authority: str
    seconds: float
    broker: int
    haproxy: int

    def leg(self, work: Callable[[Order], Done], entrance: Entrance) -> Leg:
        before = processor_seconds(self.broker), processor_seconds(self.haproxy)
        order = Order(entrance=entrance, authority=self.authority, seconds=self.seconds)
        done = _sum([self.pool.submit(work, order) for _ in range(_PROCESSES)])
        broker, haproxy = processor_seconds(self.broker) - before[0], processor_seconds(self.haproxy) - before[1]
        time.sleep(_SETTLE)
        return Leg(*(value / self.seconds for value in (done.count, done.processor_s, broker, haproxy)))


def _sum(running: Sequence[Future[Done]]) -> Done:
    return sum((future.result() for future in running), start=Done(0, 0.0))


def _compare(
    subject: _Subject, what: str, work: Callable[[Order], Done], *, ways: Sequence[Entrance], pairs: int
) -> Comparison:
    say(f"{what}: {pairs} pairs of {subject.seconds:g} s, through the front door and straight to the broker")
    comparison = Comparison(what)
    for number in range(pairs + 1):
        through, straight = (subject.leg(work, entrance) for entrance in ways)
        if number:
            comparison.through.append(through)
            comparison.straight.append(straight)
    return comparison
