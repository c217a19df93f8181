"""When an instance is tried, and what its condition says of it."""

from dataclasses import dataclass, field, replace

import pytest

from customer_operator.observed.readiness import Readiness
from customer_operator.reachability.book import Attempt, ReachabilityBook, Subject
from customer_operator.reachability.outcome import REACHED, UNTRIED, Outcome, ProbeFailed, Step, failed
from tests.support.queues import Clock

INTERVAL = 600.0
SUCCESS = Outcome(None, 0.1)
REFUSED = Outcome(ProbeFailed(Step.CONNECT, "router:8883 refuses"), 0.1)
EXPIRED = Outcome(ProbeFailed(Step.CERTIFICATE, "it has expired"), 0.1)
ACME = Subject(host="mqtt.acme.example.com", route="mqtt.acme 10.0.0.1:8883", workload="h", running=True, generation=1)
OFF = Readiness(ready=True, unknown=True, message="nobody tries", reason="NotProbed")


@dataclass
class Scene:
    """A book whose time stands still unless a test moves it; `names` are those that were to be looked at again."""

    random: float = 0.5
    clock: Clock = field(default_factory=Clock)
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.book = ReachabilityBook(interval=INTERVAL, places=8, clock=self.clock, random=lambda: self.random)
        self.book.follow(instances_changed=self.names.extend)

    def look(self, subject: Subject = ACME, *, name: str = "acme", recorded: Readiness | None = None) -> Readiness:
        return self.book.readiness(name, subject, recorded=recorded)

    def take(self) -> Attempt:
        attempt = self.book.take()
        assert attempt is not None
        return attempt

    def run(self, *outcomes: Outcome) -> list[float]:
        """Have one try after the other end like this; return how long each was waited for."""
        waits = []
        for outcome in outcomes:
            wait = self.book.wait()
            assert wait is not None
            self.clock.now += wait
            waits.append(wait)
            self.book.finish(self.take(), outcome)
        return waits


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_new_instance_is_tried_at_once_and_is_not_ready_before_that_has_succeeded(scene: Scene) -> None:
    assert scene.look() == UNTRIED
    attempt = scene.take()
    assert attempt.subject == ACME
    assert not scene.look().ready

    scene.book.finish(attempt, SUCCESS)

    assert scene.look() == REACHED
    assert scene.names == ["acme"]
    assert scene.book.wait() == INTERVAL


def test_a_broker_that_does_not_run_yet_is_not_tried_before_it_does(scene: Scene) -> None:
    assert scene.look(replace(ACME, running=False)) == UNTRIED
    assert scene.book.wait() is None

    scene.look()

    assert scene.book.wait() == 0.0


def test_the_first_failure_of_a_new_one_names_the_step_and_it_is_tried_ever_more_slowly(scene: Scene) -> None:
    scene.look()

    assert scene.run(*[REFUSED] * 9) == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert scene.look() == Readiness(ready=False, message="connect: router:8883 refuses", reason="ConnectFailed")
    assert scene.names == ["acme"], "what says nothing new queues nobody"
    assert scene.book.unreachable == 1


def test_one_that_was_reachable_is_so_until_a_second_try_fails(scene: Scene) -> None:
    scene.look()
    scene.run(SUCCESS)
    scene.names.clear()

    assert scene.run(REFUSED) == [INTERVAL]
    assert (scene.look(), scene.names, scene.book.unreachable) == (REACHED, [], 0)
    assert scene.run(SUCCESS, REFUSED, REFUSED) == [2.0, INTERVAL, 2.0], "a success begins anew"
    assert scene.look() == failed(ProbeFailed(Step.CONNECT, "router:8883 refuses"))
    assert scene.names == ["acme"]
    assert scene.run(EXPIRED) == [2.0]
    assert scene.look().reason == "CertificateInvalid"
    assert scene.names == ["acme", "acme"]
    assert scene.run(SUCCESS) == [4.0]
    assert scene.look() == REACHED


@pytest.mark.parametrize(
    "changed",
    [
        replace(ACME, route="mqtt.acme 10.0.0.2:8883"),
        replace(ACME, host="devices.acme.example"),
        replace(ACME, workload="other"),
        replace(ACME, running=False),
    ],
    ids=["address", "host", "certificate or configuration", "broker away"],
)
def test_what_may_make_a_difference_has_a_reachable_one_tried_at_once(scene: Scene, changed: Subject) -> None:
    scene.look()
    scene.run(SUCCESS)

    assert scene.look(changed) == REACHED
    assert scene.book.wait() == 0.0
    assert scene.take().subject == changed


def test_a_changed_spec_has_one_tried_at_once_that_is_not_reachable_and_no_other(scene: Scene) -> None:
    later = replace(ACME, generation=2)
    scene.look()
    scene.run(SUCCESS)
    scene.look(later)
    assert scene.book.wait() == INTERVAL

    scene.run(REFUSED, REFUSED)
    assert scene.book.wait() == 2.0
    scene.look(replace(ACME, generation=3))
    assert scene.run(REFUSED, REFUSED) == [0.0, 1.0], "and its delays begin anew"


def test_what_changes_during_a_try_makes_its_outcome_worth_nothing(scene: Scene) -> None:
    scene.look()
    attempt = scene.take()
    scene.look(replace(ACME, route="mqtt.acme 10.0.0.2:8883"))
    assert scene.book.take() is None, "no instance is tried twice at a time"

    scene.book.finish(attempt, SUCCESS)

    assert not scene.look(replace(ACME, route="mqtt.acme 10.0.0.2:8883")).ready
    assert scene.book.wait() == 0.0


@pytest.mark.parametrize("recorded", [REACHED, OFF, failed(ProbeFailed(Step.TLS, "no route"))])
def test_after_a_start_what_the_status_says_holds_until_the_first_try(scene: Scene, recorded: Readiness) -> None:
    assert scene.look(recorded=recorded) == recorded
    assert scene.names == []


def test_after_a_start_they_do_not_all_come_at_once() -> None:
    scene = Scene()
    for number in range(100):
        scene.random = number / 100
        scene.look(name=f"reachable-{number}", recorded=REACHED)
        scene.look(name=f"away-{number}", recorded=failed(ProbeFailed(Step.TLS, "no route")))
    due = []
    while scene.book.wait() is not None:
        scene.clock.now += scene.book.wait() or 0.0
        due.append((scene.take().name.partition("-")[0], round(scene.clock.now - 1000)))

    assert [time for what, time in due if what == "reachable"] == list(range(0, 600, 6))
    assert max(time for what, time in due if what == "away") < 60, "those that are away are tried sooner"


def test_the_slow_interval_varies() -> None:
    waits = set()
    for number in (0.0, 0.5, 0.999):
        scene = Scene(random=number)
        scene.look()
        scene.run(SUCCESS)
        waits.add(round(scene.book.wait() or 0.0))

    assert waits == {540, 600, 660}


def test_one_failure_after_a_start_makes_nobody_unreachable(scene: Scene) -> None:
    scene.look(recorded=REACHED)
    scene.run(REFUSED)
    assert scene.look() == REACHED

    scene.run(REFUSED)
    assert not scene.look().ready


def test_what_is_forgotten_leaves_nothing_behind(scene: Scene) -> None:
    for number in range(1000):
        scene.look(name=f"i-{number}")
        scene.book.forget(f"i-{number}")

    assert (len(scene.book), scene.book.wait(), scene.book.take()) == (0, None, None)
    assert len(scene.book._lanes._usual._heap) < 100


def test_what_comes_of_one_that_is_gone_is_nobodys(scene: Scene) -> None:
    scene.look()
    attempt = scene.take()
    scene.book.forget("acme")
    scene.book.finish(attempt, SUCCESS)
    assert len(scene.book) == 0

    scene.look()
    scene.book.finish(attempt, SUCCESS)
    assert not scene.look().ready, "this is another one of that name"


def test_one_whose_login_is_not_known_yet_is_looked_at_again(scene: Scene) -> None:
    scene.look()
    scene.book.postpone(scene.take())

    assert scene.book.wait() == 5.0
    assert scene.look() == UNTRIED


def test_many_that_hang_do_not_hold_up_a_new_one(scene: Scene) -> None:
    for number in range(6):
        scene.look(name=f"hangs-{number}")
    scene.run(*[REFUSED] * 12)
    scene.clock.now += 60.0
    taken = [scene.take() for _ in range(4)]
    assert scene.book.take() is None, "they have half of the places"

    scene.look(name="new")

    assert scene.take().name == "new"
    for attempt in taken:
        scene.book.finish(attempt, REFUSED)
    assert scene.take().name.startswith("hangs-")


def test_thousands_that_are_due_come_slowly_enough_for_the_front_door() -> None:
    scene = Scene()
    for number in range(10_000):
        scene.look(name=f"i-{number}")
    taken = []
    while (now := scene.clock.now) < 1030.0:
        attempt = scene.book.take()
        if attempt is None:
            wait = scene.book.wait()
            assert wait, "who waits for no time, and takes nobody, does so for ever"
            scene.clock.now += wait
            continue
        taken.append(now)
        scene.book.finish(attempt, REFUSED)

    # HAProxy turns all away of a source that has made 1000 connections in ten seconds, those it turns away included; a
    # try may make two.
    busiest = max(sum(begin <= time < begin + 10.0 for time in taken) for begin in range(1000, 1021))
    assert 400 <= busiest < 500


def test_those_that_were_away_before_a_start_do_not_hold_up_a_new_one(scene: Scene) -> None:
    for number in range(20):
        scene.look(name=f"away-{number}", recorded=failed(ProbeFailed(Step.CONNECT, "router:8883 refuses")))
    scene.clock.now += 60.0

    taken = [scene.take() for _ in range(4)]
    assert scene.book.take() is None, "they have half of the places"
    scene.look(name="new")

    assert scene.take().name == "new"
    scene.book.finish(taken[0], REFUSED)
    assert scene.take().name.startswith("away-")


def test_one_that_fails_has_its_turn_though_others_are_always_due(scene: Scene) -> None:
    scene.look(name="fails")
    scene.run(*[REFUSED] * 3)
    scene.clock.now += 60.0
    for number in range(10):
        scene.look(name=f"new-{number}")

    assert "fails" in [scene.take().name for _ in range(3)]


def test_who_waits_is_told_that_somebody_may_be_due(scene: Scene) -> None:
    told: list[bool] = []
    scene.book.follow(due_changed=lambda: told.append(True))

    scene.look()

    assert told
