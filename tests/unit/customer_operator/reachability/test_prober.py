"""Tries run in threads, a few at a time, and end with whoever asked for them."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from customer_operator.errors import ClusterUnreachable, SecretBroken
from customer_operator.metrics import Metrics
from customer_operator.model.addresses import Endpoint
from customer_operator.model.credentials import Credentials
from customer_operator.reachability.book import ReachabilityBook, Subject
from customer_operator.reachability.outcome import REACHED, UNTRIED, Outcome, ProbeFailed, Step
from customer_operator.reachability.prober import Door, Prober
from customer_operator.reachability.target import Target
from hack.tasks import running
from tests.support.generate import make_credentials
from tests.support.queues import Clock
from tests.support.waiting import eventually

AUTHORITY = "what devices trust, PEM"
SUCCESS = Outcome(None, 0.25)
SUBJECT = Subject(host="mqtt.acme.example.com", route="r", workload="h", running=True, generation=1)


class Scene:
    """A prober whose tries are scripted; the clock of its book stands still."""

    def __init__(
        self, attempt: Callable[[Target, float], Outcome], *, concurrency: int = 4, book: ReachabilityBook | None = None
    ) -> None:
        self.clock = Clock()
        self.registry = CollectorRegistry()
        self.known: dict[str, Credentials] = {}
        self.trusted: dict[str, str | None] = {}
        self.untold: set[str] = set()
        self.book = book or ReachabilityBook(interval=600.0, places=concurrency, clock=self.clock, random=lambda: 0.5)
        self.prober = Prober(
            book=self.book,
            door=Door(endpoint=lambda host: Endpoint(f"door-of-{host}", 8883), timeout=3.0),
            credentials=lambda name: self.known.get(name, make_credentials()),
            trust=self._trust,
            metrics=Metrics(self.registry),
            concurrency=concurrency,
            attempt=attempt,
        )

    async def _trust(self, name: str) -> str | None:
        if name in self.untold:
            raise ClusterUnreachable("away")
        return self.trusted.get(name, AUTHORITY)

    def look(self, name: str = "acme") -> str:
        return self.book.readiness(name, replace(SUBJECT, host=f"mqtt.{name}.example.com"), recorded=None).message

    def count(self, outcome: str) -> float:
        return self.registry.get_sample_value("customer_operator_route_probes_total", {"outcome": outcome}) or 0.0

    def running(self) -> AbstractAsyncContextManager[asyncio.Task[None]]:
        return running(self.prober.run())


async def test_who_is_due_is_tried_as_a_device_that_trusts_the_instances_authority() -> None:
    targets: list[tuple[Target, float]] = []

    def attempt(target: Target, timeout: float) -> Outcome:
        targets.append((target, timeout))
        return SUCCESS

    scene = Scene(attempt)
    async with scene.running():
        await asyncio.sleep(0)
        scene.look()
        await eventually(lambda: scene.look() == REACHED.message)

    credentials = make_credentials()
    wanted = Target(
        host="mqtt.acme.example.com",
        address="door-of-mqtt.acme.example.com",
        port=8883,
        topic="route_probe/echo",
        username="route_probe",
        password=credentials.mqtt_probe_password,
        trust=AUTHORITY,
    )
    assert targets == [(wanted, 3.0)]
    assert credentials.mqtt_probe_password not in repr(wanted)
    assert scene.count("success") == 1
    assert scene.registry.get_sample_value("customer_operator_route_probe_seconds_sum") == SUCCESS.seconds


async def test_no_more_are_tried_at_once_than_there_are_places_and_the_loop_goes_on() -> None:
    gate, inside, most = threading.Event(), 0, 0
    lock = threading.Lock()

    def attempt(_target: Target, _timeout: float) -> Outcome:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        gate.wait(30)
        with lock:
            inside -= 1
        return SUCCESS

    scene = Scene(attempt, concurrency=3)
    names = [f"i-{number}" for number in range(9)]
    async with scene.running():
        for name in names:
            scene.look(name)
        await eventually(lambda: inside == 3)
        gate.set()
        await eventually(lambda: all(scene.look(name) == REACHED.message for name in names))

    assert most == 3


async def test_a_failure_is_counted_by_its_step() -> None:
    scene = Scene(lambda _target, _timeout: Outcome(ProbeFailed(Step.TLS, "no route"), 0.1))
    async with scene.running():
        scene.look()
        await eventually(lambda: scene.look() == "TLS: no route")

    assert scene.count("tls") == 1
    assert scene.registry.get_sample_value("customer_operator_route_probe_seconds_count") == 0


async def test_what_comes_of_a_try_is_logged_when_it_is_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="customer_operator.reachability.prober")
    outcomes = [Outcome(ProbeFailed(Step.TLS, "no route"), 0.1)] * 5 + [SUCCESS]
    scene = Scene(lambda _target, _timeout: outcomes.pop(0), concurrency=1)

    def is_reached() -> bool:
        scene.clock.now += 60.0
        scene.prober._due.set()
        return scene.look() == REACHED.message

    async with scene.running():
        await eventually(is_reached)

    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "instance acme: its broker is not reached: TLS: no route",
        "instance acme: its broker is reached",
    ]


async def test_a_defect_of_our_own_ends_neither_the_prober_nor_anybodys_readiness() -> None:
    def attempt(target: Target, _timeout: float) -> Outcome:
        if "broken" in target.host:
            raise RuntimeError("a defect")
        return SUCCESS

    scene = Scene(attempt, concurrency=1)
    async with scene.running():
        scene.look("broken")
        await eventually(lambda: scene.count("error") == 1)
        assert scene.look("broken") == UNTRIED.message
        scene.look("acme")
        await eventually(lambda: scene.look("acme") == REACHED.message)


BROKEN = SecretBroken("credentials", namespace="customer-broken", problem="tls_ca_pem is no certificate", cure="…")


@pytest.mark.parametrize("error", [BROKEN, ValueError("a defect")], ids=["a broken Secret", "a defect"])
async def test_what_is_wrong_with_the_secrets_of_one_does_not_end_the_work_of_the_leader(error: Exception) -> None:
    scene = Scene(lambda _target, _timeout: SUCCESS, concurrency=1)

    async def trust(name: str) -> str | None:
        if name == "broken":
            raise error
        return AUTHORITY

    scene.prober._trust = trust
    async with scene.running() as work:
        scene.look("broken")
        scene.look("acme")
        await eventually(lambda: work.done() or scene.look("acme") == REACHED.message)
        assert not work.done()
        assert scene.look("broken") == UNTRIED.message


async def test_one_whose_credentials_no_pass_has_read_is_not_tried() -> None:
    tried: list[str] = []

    def attempt(target: Target, _timeout: float) -> Outcome:
        tried.append(target.host)
        return SUCCESS

    scene = Scene(attempt)
    scene.prober._credentials = lambda name: make_credentials() if name == "known" else None
    async with scene.running():
        scene.look("unknown")
        scene.look("known")
        await eventually(lambda: scene.look("known") == REACHED.message)
        assert scene.look("unknown") == UNTRIED.message

    assert tried == ["mqtt.known.example.com"]


async def test_who_is_next_to_lead_begins_with_an_empty_book() -> None:
    scene = Scene(lambda _target, _timeout: SUCCESS)
    async with scene.running():
        scene.look()
        await eventually(lambda: scene.look() == REACHED.message)

    assert len(scene.book) == 0


async def test_what_a_pass_has_left_behind_after_the_end_of_a_term_is_not_the_next_ones() -> None:
    scene = Scene(lambda _target, _timeout: SUCCESS)
    scene.look()

    Scene(lambda _target, _timeout: SUCCESS, book=scene.book)

    assert len(scene.book) == 0


async def test_one_whose_devices_trust_nobody_can_tell_yet_is_tried_later_and_nobody_else_waits() -> None:
    targets: list[Target] = []

    def attempt(target: Target, _timeout: float) -> Outcome:
        targets.append(target)
        return SUCCESS

    scene = Scene(attempt)
    scene.untold, scene.trusted = {"untold"}, {"public": None}
    async with scene.running():
        scene.look("untold")
        scene.look("public")
        await eventually(lambda: scene.look("public") == REACHED.message)
        assert scene.look("untold") == UNTRIED.message
        scene.untold = set()
        scene.clock.now += 60.0
        scene.look("public")
        scene.prober._due.set()
        await eventually(lambda: scene.look("untold") == REACHED.message)

    assert [(target.host, target.trust) for target in targets] == [
        ("mqtt.public.example.com", None),
        ("mqtt.untold.example.com", AUTHORITY),
    ]
