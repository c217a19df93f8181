"""The workers: what a pass's outcome does to the queue, and how many work at once."""

import asyncio

import pytest

from customer_operator.errors import ClusterUnreachable, Conflict
from customer_operator.reconcile.reconciler import Outcome
from customer_operator.scheduling.queue import Priority
from tests.support.workers import RESYNC, Answer, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


# -- what an outcome does --------------------------------------------------------------------------------------------


async def test_a_steady_instance_comes_back_at_the_resync_and_not_before(bench: Bench) -> None:
    bench.queue.add("acme", Priority.TRIAL)
    await bench.one_pass(Outcome("ready"))

    assert await bench.due_after(0.89 * RESYNC) is None
    assert await bench.due_after(0.22 * RESYNC) is Priority.RESYNC


async def test_only_the_first_pass_and_the_one_at_the_resync_compare_in_full(bench: Bench) -> None:
    for wait in (0.0, 1.0, 0.5 * RESYNC, 1.11 * RESYNC):
        bench.clock.now += wait
        bench.queue.add("acme", Priority.TRIAL)
        await bench.one_pass(Outcome("ready"))

    assert bench.resyncs == [True, False, False, True]


async def test_events_do_not_put_the_resync_off(bench: Bench) -> None:
    """A busy instance would otherwise never be compared in full."""
    for _ in range(12):
        bench.queue.add("acme", Priority.TRIAL)
        await bench.one_pass(Outcome("ready"))
        bench.clock.now += 0.1 * RESYNC

    assert bench.resyncs.count(True) == 2


async def test_a_pass_that_asks_for_another_gets_it_in_the_class_of_its_plan(bench: Bench) -> None:
    bench.queue.add("acme", Priority.TRIAL)
    await bench.one_pass(Outcome("failed", requeue_after=60.0))

    assert await bench.due_after(59.0) is None
    assert await bench.due_after(1.0) is Priority.STARTER


async def test_a_conflict_is_looked_at_again_soon_in_the_same_class(bench: Bench) -> None:
    bench.queue.add("acme", Priority.PROFESSIONAL)
    await bench.one_pass(Conflict("PATCH: 409", status=409))

    assert await bench.due_after(0.1) is None
    assert await bench.due_after(0.2) is Priority.PROFESSIONAL


async def test_while_the_api_server_is_away_names_come_back_ever_more_slowly(bench: Bench) -> None:
    delays = []
    bench.queue.add("acme", Priority.TRIAL)
    for _ in range(7):
        await bench.one_pass(ClusterUnreachable("no answer"))
        start = bench.clock.now
        while await bench.due_after(0.25) is None:
            pass
        delays.append(bench.clock.now - start)
        bench.queue.add("acme", Priority.TRIAL)

    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


async def test_when_the_api_server_is_back_the_next_outage_begins_anew(bench: Bench) -> None:
    for answer in (ClusterUnreachable("x"), ClusterUnreachable("x"), Outcome("ready"), ClusterUnreachable("x")):
        bench.clock.now += 10
        bench.queue.add("acme", Priority.TRIAL)
        await bench.one_pass(answer)

    assert await bench.due_after(0.5) is not None


async def test_an_unexpected_error_ends_one_pass_and_not_the_worker(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.queue.add("acme", Priority.TRIAL)
    await bench.one_pass(KeyError("spec"))

    assert "instance acme: a pass ended in an error that is not the instance's" in caplog.text
    assert await bench.due_after(7.9) is None
    assert await bench.due_after(0.1) is not None


@pytest.mark.parametrize("result", ["gone", "deleted", "released"])
async def test_an_instance_that_is_gone_does_not_come_back(bench: Bench, result: str) -> None:
    bench.queue.add("acme", Priority.DELETE)
    await bench.one_pass(Outcome(result))

    assert await bench.due_after(10 * RESYNC) is None


async def test_a_recreated_instance_is_compared_in_full_again(bench: Bench) -> None:
    for answer in (Outcome("ready"), Outcome("deleted"), Outcome("ready")):
        bench.queue.add("acme", Priority.TRIAL)
        await bench.one_pass(answer)

    assert bench.resyncs == [True, False, True]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (Outcome("ready"), "ready"),
        (Conflict("x", status=409), "conflict"),
        (ClusterUnreachable("x"), "unreachable"),
        (KeyError("x"), "error"),
    ],
)
async def test_every_pass_is_counted_by_its_outcome(bench: Bench, answer: Answer, label: str) -> None:
    bench.queue.add("acme", Priority.TRIAL)
    await bench.one_pass(answer)

    count = bench.registry.get_sample_value("customer_operator_reconcile_seconds_count", {"outcome": label})
    assert count == 1


async def test_due_work_that_nobody_finishes_is_a_stall_and_a_long_queue_alone_is_none(bench: Bench) -> None:
    stalls: list[float] = []
    for number in range(3):
        bench.queue.add(str(number), Priority.TRIAL)

    async def reconcile(name: str) -> Outcome:
        """Take 100 seconds for each, while the others wait."""
        stalls.append(bench.workers.stalled_for())
        bench.clock.now += 100
        stalls.append(bench.workers.stalled_for())
        return Outcome("gone")

    await bench.run(reconcile, until=lambda: len(stalls) == 6 and not bench.queue.in_flight())

    assert stalls == [0, 100, 0, 100, 0, 0], "the last one keeps nobody waiting"


async def test_where_nobody_works_nothing_hangs(bench: Bench) -> None:
    """A leader that still reads what exists, for minutes beside thousands of instances, must not be restarted."""
    bench.queue.add("acme", Priority.TRIAL)
    bench.clock.now += 1000
    assert bench.workers.stalled_for() == 0

    await bench.one_pass(Outcome("ready"))
    bench.queue.add("acme", Priority.TRIAL)
    bench.clock.now += 1000
    assert bench.workers.stalled_for() == 0


@pytest.mark.parametrize("first", [True, False], ids=["the first pass", "a later pass"])
async def test_a_comparison_that_is_asked_for_during_a_pass_is_made_after_it(bench: Bench, *, first: bool) -> None:
    """A hostname becomes free just while the one that waits for it is being refused again."""
    bench.queue.add("acme", Priority.TRIAL)
    if not first:
        await bench.one_pass(Outcome("ready"))
        bench.queue.add("acme", Priority.TRIAL)
    before, calls = len(bench.resyncs), []

    async def reconcile(name: str) -> Outcome:
        calls.append(name)
        if len(calls) == 1:
            bench.clock.now += 1
            bench.workers.compare_again(name, within=0.0)
        return Outcome("failed")

    await bench.run(reconcile, until=lambda: len(calls) == 2 and not bench.queue.in_flight())

    assert bench.resyncs[before:] == [first, True]
    assert await bench.due_after(0.89 * RESYNC) is None, "once is enough"


# -- several at once -------------------------------------------------------------------------------------------------


async def test_as_many_instances_are_in_work_as_the_setting_says_and_no_more() -> None:
    bench, at_work, most = Bench(concurrency=3), set(), 0
    gate = asyncio.Event()

    async def reconcile(name: str) -> Outcome:
        nonlocal most
        at_work.add(name)
        most = max(most, len(at_work))
        await gate.wait()
        at_work.remove(name)
        return Outcome("gone")

    for number in range(10):
        bench.queue.add(str(number), Priority.TRIAL)
    asyncio.get_running_loop().call_later(0.01, gate.set)
    await bench.run(reconcile, until=lambda: gate.is_set() and not bench.queue.depth() and not bench.queue.in_flight())

    assert most == 3
    assert len(bench.resyncs) == 10


async def test_an_instance_is_never_in_work_twice_and_a_change_meanwhile_means_one_more_pass() -> None:
    bench, passes = Bench(concurrency=3), 0

    async def reconcile(name: str) -> Outcome:
        nonlocal passes
        passes += 1
        assert bench.queue.in_flight() == 1
        if passes == 1:
            bench.workers.instance_changed(name)
            bench.workers.instance_changed(name)
        await asyncio.sleep(0)
        return Outcome("ready")

    bench.queue.add("acme", Priority.TRIAL)
    await bench.run(reconcile, until=lambda: passes == 2 and not bench.queue.in_flight())

    assert passes == 2


async def test_workers_that_are_stopped_leave_nothing_in_work() -> None:
    bench = Bench(concurrency=2)

    async def reconcile(_: str) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    bench.queue.add("acme", Priority.TRIAL)
    await bench.run(reconcile, until=lambda: bench.queue.in_flight() == 1)

    assert bench.queue.in_flight() == 0


# -- how names enter the queue -----------------------------------------------------------------------------------------


async def test_an_instance_that_vanished_is_looked_at_first_to_be_forgotten(bench: Bench) -> None:
    bench.workers.instance_changed("vanished")

    assert await bench.due_after(0) is Priority.DELETE


async def test_changes_of_objects_are_looked_at_together_a_moment_later(bench: Bench) -> None:
    for _ in range(5):
        bench.workers.object_changed("acme")
    bench.workers.object_changed("unknown")

    assert await bench.due_after(0.2) is None
    assert await bench.due_after(0.1) is Priority.STARTER
    assert await bench.due_after(10) is None
