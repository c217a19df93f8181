"""What a pass says of the way through the front door: published, tried, told by the status of before, or by nobody."""

from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from customer_operator.components import mosquitto
from customer_operator.credentials.issued import DeviceTrust
from customer_operator.licensing.entitlement import evaluate
from customer_operator.licensing.keys import KeySet
from customer_operator.observed.cache import CachedObject, Key
from customer_operator.observed.readiness import READY, Readiness
from customer_operator.reachability.book import ReachabilityBook
from customer_operator.reachability.outcome import REACHED, UNTRIED, Outcome
from customer_operator.reconcile.front_door import FrontDoor
from customer_operator.reconcile.observation import Pass
from customer_operator.status.record import RecordedCondition, StatusRecord
from mqtt_router.routes import shard_of
from tests.support.generate import make_instance, make_platform
from tests.support.queues import Clock
from tests.support.routes import ADDRESS, Scene, host_of
from tests.support.shards import shard
from tests.support.statuses import NOW

INSTANCE = make_instance()
HOST = host_of(INSTANCE.name)
DECISION = evaluate(INSTANCE, token=None, keys=KeySet(None), issuer="x", grace=NOW - NOW, now=NOW)
RUNNING = CachedObject(uid="u", version=1, applied_hash="h", content_hash="h", verified_hash="h", readiness=READY)
PUBLISHED = f"the route of {HOST} is published at the front door"
NEW = StatusRecord()


@dataclass
class Trust:
    """Knows what devices trust, of whom it has not been told to forget."""

    forgotten: list[str] = field(default_factory=list)

    def forget(self, name: str) -> None:
        self.forgotten.append(name)


class Way:
    """The front door as a pass asks it, with a route that is published."""

    def __init__(self, *, probes: bool = True) -> None:
        self.scene, self.trust = Scene(), Trust()
        self.scene.put(INSTANCE.name)
        self.publish(f"{HOST} {ADDRESS}:8883\n")
        self.book = ReachabilityBook(interval=600.0, places=8, clock=Clock(), random=lambda: 0.5)
        self._front_door = FrontDoor(
            self.scene.book,
            self.book if probes else None,
            trust=cast("DeviceTrust", self.trust),
            platform=make_platform(),
        )

    def publish(self, text: str, *, version: int = 1) -> None:
        made = shard(shard_of(HOST), text)
        self.scene.book.upsert({**made, "metadata": {**made["metadata"], "uid": "u", "resourceVersion": str(version)}})

    def ask(
        self,
        previous: StatusRecord = NEW,
        *,
        broker: CachedObject | None = RUNNING,
        exposure: str = "SNI",
        suspended: str | None = None,
    ) -> Readiness:
        instance = make_instance(mqtt={"exposure": exposure})
        done = Pass(decision=replace(DECISION, suspended=suspended))
        objects = {Key("StatefulSet", mosquitto.NAME): broker} if broker else {}
        return self._front_door.readiness(instance, done, objects, previous)

    def forget(self) -> None:
        self._front_door.forget(INSTANCE.name)


def recorded(status: str, reason: str, message: str = "") -> StatusRecord:
    """Return a status whose condition RouteReady is this."""
    return StatusRecord(conditions={"RouteReady": RecordedCondition(status, reason, "then", message)})


def test_a_route_that_is_not_published_is_waited_for_and_nobody_is_tried() -> None:
    way = Way()
    way.scene.put(INSTANCE.name, address="10.96.0.99")

    assert way.ask().message == f"waiting for the route of {HOST} to be published"
    assert len(way.book) == 0


def test_a_published_route_is_ready_when_a_device_has_come_by_it() -> None:
    way = Way()
    assert way.ask() == UNTRIED

    attempt = way.book.take()
    assert attempt is not None
    way.book.finish(attempt, Outcome(None, 0.1))

    assert way.ask() == REACHED
    assert attempt.subject.host == HOST
    assert attempt.subject.route == f"{HOST} {ADDRESS}:8883"


@pytest.mark.parametrize(
    "broker", [None, replace(RUNNING, readiness=Readiness(ready=False))], ids=["no broker", "one that is not ready"]
)
def test_a_broker_that_does_not_run_is_not_tried(broker: CachedObject | None) -> None:
    way = Way()

    assert way.ask(broker=broker) == UNTRIED
    assert way.book.take() is None


def test_another_hash_of_the_broker_has_it_tried_again() -> None:
    way = Way()
    way.ask(recorded("True", "Reachable"))
    assert way.book.take() is None

    way.ask(broker=replace(RUNNING, applied_hash="another"))

    assert way.book.take() is not None


def test_where_nobody_tries_a_published_route_is_unknown_and_holds_nothing_up() -> None:
    found = Way(probes=False).ask()

    assert (found.ready, found.unknown, found.reason) == (True, True, "NotProbed")
    assert found.message == f"{PUBLISHED}; whether devices come through, nobody tries (ROUTE_PROBE)"


def test_where_nobody_tries_a_route_that_is_not_published_is_waited_for_all_the_same() -> None:
    way = Way(probes=False)
    way.scene.put(INSTANCE.name, address="10.96.0.99")

    assert not way.ask().ready


@pytest.mark.parametrize(
    ("previous", "expected"),
    [
        (recorded("True", "Reachable", REACHED.message), REACHED),
        (recorded("True", "Ready", PUBLISHED), REACHED),
        (recorded("Unknown", "NotProbed", "nobody tries"), Readiness(True, "nobody tries", False, "NotProbed", True)),
        (recorded("False", "TLSFailed", "TLS: no route"), Readiness(False, "TLS: no route", False, "TLSFailed")),
        (recorded("True", "Ready", "devices connect by NodePort"), UNTRIED),
        (recorded("False", "NotReady", "waiting for the route"), UNTRIED),
        (recorded("Unknown", "Unknown"), UNTRIED),
        (NEW, UNTRIED),
    ],
    ids=["reached", "of before there were tries", "tries were off", "failed", "other way", "waiting", "unknown", "new"],
)
def test_until_the_first_try_the_status_of_before_holds_as_far_as_it_is_about_this_way(
    previous: StatusRecord, expected: Readiness
) -> None:
    assert Way().ask(previous) == expected


@pytest.mark.parametrize("change", [{"exposure": "NodePort"}, {"suspended": "rests"}], ids=["other way", "suspended"])
def test_one_whose_devices_do_not_come_this_way_any_more_is_forgotten(change: dict[str, str]) -> None:
    way = Way()
    way.ask()
    assert len(way.book) == 1

    way.ask(**change)  # type: ignore[arg-type]

    assert len(way.book) == 0


def test_of_an_instance_that_is_gone_nothing_is_kept() -> None:
    way = Way()
    way.ask()

    way.forget()

    assert len(way.book) == 0
    assert way.trust.forgotten == [INSTANCE.name]
