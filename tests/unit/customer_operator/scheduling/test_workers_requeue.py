"""When the workers look at an instance again: after conflicts, at a time it names, and in full when asked."""

import pytest

from customer_operator.errors import Conflict
from customer_operator.reconcile.reconciler import Outcome
from customer_operator.scheduling.queue import Priority
from tests.support.queues import make_body, take
from tests.support.workers import Answer, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_conflicts_in_a_row_wait_ever_longer_and_success_ends_the_row(bench: Bench) -> None:
    delays = []
    answers: list[Answer] = [*[Conflict("x", status=409)] * 10, Outcome("ready"), Conflict("x", status=409)]
    for answer in answers:
        bench.queue.add("acme", Priority.TRIAL)
        await bench.one_pass(answer)
        start = bench.clock.now
        while isinstance(answer, Conflict) and await bench.due_after(0.1) is None:
            pass
        delays.append(bench.clock.now - start)

    assert delays == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 0.0, 0.2], abs=0.11)


async def test_the_conflicts_of_one_instance_do_not_delay_another(bench: Bench) -> None:
    bench.cache.upsert_instance({**make_body(), "metadata": {**make_body()["metadata"], "name": "bravo"}})
    for _ in range(5):
        bench.queue.add("acme", Priority.TRIAL)
        await bench.one_pass(Conflict("x", status=409))
        bench.clock.now += 60
        await take(bench.queue)
        bench.queue.done("acme")
    bench.queue.add("bravo", Priority.TRIAL)
    await bench.one_pass(Conflict("x", status=409))

    assert await bench.due_after(0.2) is not None


async def test_a_steady_instance_that_wants_to_be_seen_at_a_time_stays_in_the_class_of_the_resync(
    bench: Bench,
) -> None:
    """A license that expires tomorrow must not have its instance overtake those that somebody waits for."""
    bench.queue.add("acme", Priority.TRIAL)
    await bench.one_pass(Outcome("ready", requeue_after=30.0, steady=True))

    assert await bench.due_after(29.0) is None
    assert await bench.due_after(1.0) is Priority.RESYNC


async def test_an_instance_that_is_asked_to_be_compared_again_is_so_although_its_resync_was_just_now(
    bench: Bench,
) -> None:
    bench.queue.add("acme", Priority.TRIAL)
    await bench.one_pass(Outcome("ready"))
    await bench.one_pass_of("acme", Outcome("ready"))
    bench.workers.compare_again("acme", within=0.0)
    await bench.one_pass(Outcome("ready"))

    assert bench.resyncs == [True, False, True]


async def test_many_that_are_compared_again_are_spread_over_the_time_given(bench: Bench) -> None:
    for number in range(100):
        bench.workers.compare_again(str(number), within=100.0)

    due = []
    for _ in range(10):
        bench.clock.now += 10
        count = 0
        while await take(bench.queue) is not None:
            count += 1
        due.append(count)
    assert sum(due) == 100
    assert max(due) < 40


async def test_a_new_leader_compares_everything_in_full(bench: Bench) -> None:
    bench.queue.add("acme", Priority.TRIAL)
    bench.queue.add("gone", Priority.TRIAL, delay=5.0)
    await bench.one_pass(Outcome("ready"))
    bench.clock.now += 100
    bench.workers.start_over()
    await bench.one_pass(Outcome("ready"))

    assert bench.resyncs == [True, True]
    assert await bench.due_after(10) is None, "what a former reign has left in the queue is forgotten"
    assert bench.workers.stalled_for() == 0


# -- license keys ----------------------------------------------------------------------------------------------------


async def test_when_the_license_keys_change_those_that_were_not_trusted_are_tried_at_once_and_in_full(
    bench: Bench,
) -> None:
    for name, state in (("bravo", "Invalid"), ("charlie", "Expired"), ("delta", "None")):
        body = make_body(license=state)
        bench.cache.upsert_instance({**body, "metadata": {**body["metadata"], "name": name, "uid": name}})
    bench.queue.add("bravo", Priority.TRIAL)
    await bench.one_pass(Outcome("failed"))
    assert await bench.due_after(1.0) is None

    bench.workers.keys_changed()
    item = await take(bench.queue)
    assert item is not None
    assert (item.name, item.priority) == ("bravo", Priority.STARTER)
    assert await take(bench.queue) is None
    bench.queue.done("bravo")
    bench.workers.keys_changed()
    await bench.one_pass(Outcome("ready"))
    assert bench.resyncs == [True, True]


async def test_one_that_is_just_being_refused_when_the_license_keys_change_is_tried_once_more(bench: Bench) -> None:
    calls = []

    async def reconcile(name: str) -> Outcome:
        calls.append(name)
        if len(calls) == 1:
            bench.clock.now += 1
            bench.workers.keys_changed()
        return Outcome("failed")

    bench.queue.add("acme", Priority.TRIAL)
    await bench.run(reconcile, until=lambda: len(calls) == 2 and not bench.queue.in_flight())
    assert bench.resyncs == [True, True]
