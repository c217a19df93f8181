"""When a shard is written: at once, and then together with all that comes within the interval."""

import pytest

from customer_operator.routing.pacing import Pacing
from tests.support.queues import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pacing(clock: Clock) -> Pacing:
    return Pacing(interval=2.0, clock=clock)


def test_nothing_waits_at_first(pacing: Pacing) -> None:
    assert pacing.take() is None
    assert pacing.wait() is None
    assert len(pacing) == 0


def test_the_first_change_is_due_at_once(pacing: Pacing, clock: Clock) -> None:
    pacing.mark(3)

    assert pacing.wait() == 0
    assert pacing.take() == (3, clock.now)
    assert pacing.take() is None


def test_what_follows_a_write_waits_for_the_interval_and_is_taken_once(pacing: Pacing, clock: Clock) -> None:
    pacing.mark(3)
    pacing.take()
    pacing.wrote(3)
    clock.now += 0.5
    first = clock.now
    for _ in range(4):
        pacing.mark(3)
        clock.now += 0.125

    assert pacing.take() is None
    assert pacing.wait() == 1.0
    clock.now += 1.0
    assert pacing.take() == (3, first)
    assert pacing.take() is None


def test_after_a_quiet_interval_a_change_is_due_at_once_again(pacing: Pacing, clock: Clock) -> None:
    pacing.mark(3)
    pacing.take()
    pacing.wrote(3)
    clock.now += 2.5
    pacing.mark(3)

    assert pacing.take() == (3, clock.now)


def test_one_shard_does_not_wait_for_another(pacing: Pacing, clock: Clock) -> None:
    pacing.wrote(1)
    pacing.mark(1)
    clock.now += 0.25
    pacing.mark(2)

    assert pacing.take() == (2, clock.now)
    assert len(pacing) == 1


def test_the_one_that_has_waited_longest_is_first(pacing: Pacing, clock: Clock) -> None:
    for shard in (9, 4, 6):
        pacing.mark(shard)
        clock.now += 0.1

    assert [taken[0] for taken in iter(pacing.take, None)] == [9, 4, 6]


def test_what_failed_is_tried_again_ever_more_slowly_and_counts_from_its_first_change(
    pacing: Pacing, clock: Clock
) -> None:
    pacing.mark(3)
    began, waits = clock.now, []
    for _ in range(9):
        taken = pacing.take()
        assert taken == (3, began)
        pacing.failed(3, since=began)
        wait = pacing.wait()
        assert wait is not None
        waits.append(wait)
        clock.now += wait

    assert waits == [2, 2, 2, 4, 8, 16, 30, 30, 30]
    pacing.take()
    pacing.wrote(3)
    pacing.mark(3)
    assert pacing.wait() == 2


def test_what_is_cleared_neither_waits_nor_has_been_written(pacing: Pacing) -> None:
    pacing.wrote(3)
    pacing.mark(3)
    pacing.clear()

    assert pacing.wait() is None
    pacing.mark(3)
    assert pacing.wait() == 0
