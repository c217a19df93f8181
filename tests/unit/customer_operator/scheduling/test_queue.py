"""The work queue: order, delays, deduplication, ageing."""

import asyncio

import pytest

from customer_operator.scheduling.queue import Priority, QueueItem, WorkQueue
from tests.support.queues import Clock, take, take_now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock=clock, age_step=60.0)


async def take_all(queue: WorkQueue) -> list[str]:
    names = []
    while (work := await take(queue)) is not None:
        names.append(work.name)
    return names


async def test_the_most_urgent_comes_first_and_equals_come_in_the_order_of_arrival(queue: WorkQueue) -> None:
    for priority in reversed(Priority):
        queue.add(f"{priority.label}-1", priority)
        queue.add(f"{priority.label}-2", priority)

    assert await take_all(queue) == [f"{priority.label}-{number}" for priority in Priority for number in (1, 2)]


async def test_a_name_that_is_added_twice_is_handed_out_once(queue: WorkQueue) -> None:
    queue.add("acme", Priority.TRIAL)
    queue.add("acme", Priority.TRIAL)

    assert await take_all(queue) == ["acme"]


async def test_a_second_addition_raises_the_class_but_never_lowers_it(queue: WorkQueue) -> None:
    queue.add("acme", Priority.RESYNC)
    queue.add("acme", Priority.DELETE)
    queue.add("acme", Priority.TRIAL)

    work = await take(queue)

    assert work is not None
    assert work.priority is Priority.DELETE


async def test_a_second_addition_brings_the_time_forward_but_never_puts_it_off(queue: WorkQueue, clock: Clock) -> None:
    queue.add("acme", Priority.TRIAL, delay=60)
    queue.add("acme", Priority.TRIAL, delay=10)
    queue.add("acme", Priority.TRIAL, delay=600)

    clock.now += 9
    assert await take(queue) is None
    clock.now += 1
    assert await take(queue) == QueueItem(name="acme", priority=Priority.TRIAL, waited=0.0)


async def test_a_delayed_item_neither_blocks_nor_overtakes_one_that_is_due(queue: WorkQueue, clock: Clock) -> None:
    queue.add("later", Priority.DELETE, delay=5)
    queue.add("now", Priority.RESYNC)

    assert await take_all(queue) == ["now"]
    clock.now += 5
    assert await take_all(queue) == ["later"]


async def test_a_name_in_work_is_not_handed_out_again_before_it_is_done(queue: WorkQueue) -> None:
    queue.add("acme", Priority.TRIAL)
    await take(queue)
    queue.add("acme", Priority.DELETE)

    assert await take(queue) is None
    queue.done("acme")
    assert await take(queue) is not None


async def test_what_arrives_during_the_work_means_one_more_pass_and_no_more(queue: WorkQueue) -> None:
    queue.add("acme", Priority.TRIAL)
    await take(queue)
    queue.add("acme", Priority.TRIAL)
    queue.add("acme", Priority.TRIAL)
    queue.done("acme")

    assert await take_all(queue) == ["acme"]


async def test_a_delay_given_during_the_work_holds_after_it(queue: WorkQueue, clock: Clock) -> None:
    queue.add("acme", Priority.TRIAL)
    await take(queue)
    queue.add("acme", Priority.TRIAL, delay=30)
    queue.done("acme")

    assert await take(queue) is None
    clock.now += 30
    assert await take(queue) is not None


@pytest.mark.parametrize(("age", "first"), [(179.0, "fresh"), (181.0, "old")])
async def test_a_trial_overtakes_a_fresh_enterprise_signup_after_three_steps_of_age(
    queue: WorkQueue, clock: Clock, age: float, first: str
) -> None:
    queue.add("old", Priority.TRIAL)
    clock.now += age
    queue.add("fresh", Priority.ENTERPRISE)

    work = await take(queue)

    assert work is not None
    assert work.name == first


async def test_nothing_starves_under_a_stream_of_more_urgent_work(queue: WorkQueue, clock: Clock) -> None:
    queue.add("patient", Priority.RESYNC)
    for number in range(1000):
        queue.add(f"urgent-{number}", Priority.DELETE)
        work = await take(queue)
        assert work is not None
        if work.name == "patient":
            break
        clock.now += 1

    assert clock.now - 1000.0 == pytest.approx(5 * 60.0, abs=2)


async def test_waiting_is_counted_from_the_moment_an_item_is_due(queue: WorkQueue, clock: Clock) -> None:
    queue.add("acme", Priority.TRIAL, delay=10)
    clock.now += 13

    work = await take(queue)

    assert work is not None
    assert work.waited == pytest.approx(3.0)


async def test_a_waiting_worker_is_woken_by_an_addition(queue: WorkQueue) -> None:
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("acme", Priority.TRIAL)

    assert (await asyncio.wait_for(waiting, 5)).name == "acme"


async def test_a_waiting_worker_is_woken_when_a_delay_ends() -> None:
    queue = WorkQueue(clock=asyncio.get_running_loop().time)
    queue.add("acme", Priority.TRIAL, delay=0.01)

    assert (await asyncio.wait_for(queue.get(), 5)).name == "acme"


async def test_an_earlier_time_wakes_a_worker_that_sleeps_until_a_later_one() -> None:
    queue = WorkQueue(clock=asyncio.get_running_loop().time)
    queue.add("later", Priority.TRIAL, delay=3600)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("sooner", Priority.TRIAL, delay=0.01)

    assert (await asyncio.wait_for(waiting, 5)).name == "sooner"


async def test_every_waiting_worker_gets_an_item_of_its_own(queue: WorkQueue) -> None:
    workers = [asyncio.create_task(queue.get()) for _ in range(5)]
    await asyncio.sleep(0)
    for number in range(5):
        queue.add(str(number), Priority.TRIAL)

    taken = await asyncio.wait_for(asyncio.gather(*workers), 5)

    assert sorted(work.name for work in taken) == list("01234")


async def test_a_cancelled_worker_takes_no_item_with_it(queue: WorkQueue) -> None:
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("acme", Priority.TRIAL)
    first.cancel()

    assert (await asyncio.wait_for(second, 5)).name == "acme"
    assert queue.in_flight() == 1


async def test_the_counts_tell_due_delayed_and_in_work_apart(queue: WorkQueue, clock: Clock) -> None:
    queue.add("in-work", Priority.DELETE)
    await take(queue)
    queue.add("trial", Priority.TRIAL)
    queue.add("starter", Priority.STARTER)
    queue.add("later", Priority.TRIAL, delay=30)
    clock.now += 10

    assert queue.depth() == {Priority.TRIAL: 1, Priority.STARTER: 1}
    assert (queue.delayed(), queue.in_flight(), queue.oldest_wait()) == (1, 1, 10.0)


async def test_the_longest_wait_is_zero_when_nothing_is_due(queue: WorkQueue, clock: Clock) -> None:
    assert queue.oldest_wait() == 0.0
    queue.add("later", Priority.RESYNC, delay=600)
    assert queue.oldest_wait() == 0.0
    clock.now += 601
    assert queue.oldest_wait() == 1.0


async def test_the_longest_wait_leaves_out_what_is_in_work(queue: WorkQueue, clock: Clock) -> None:
    queue.add("acme", Priority.TRIAL)
    await take(queue)
    queue.add("acme", Priority.TRIAL)
    clock.now += 1000

    assert queue.oldest_wait() == 0.0


async def test_clearing_forgets_what_waits_but_not_what_is_in_work(queue: WorkQueue, clock: Clock) -> None:
    queue.add("working", Priority.TRIAL)
    await take(queue)
    queue.add("due", Priority.TRIAL)
    queue.add("later", Priority.TRIAL, delay=5)
    queue.clear()
    clock.now += 10

    assert await take(queue) is None
    assert (queue.delayed(), queue.in_flight(), sum(queue.depth().values())) == (0, 1, 0)


async def test_memory_stays_in_proportion_to_the_names_however_often_they_are_put_forward(
    queue: WorkQueue, clock: Clock
) -> None:
    for _ in range(3_000):
        queue.add("busy", Priority.RESYNC, delay=600)
        queue.add("busy", Priority.TRIAL)
        assert take_now(queue) == "busy"
        queue.done("busy")
        clock.now += 0.001

    assert len(queue._delayed) + len(queue._ready) < 500
