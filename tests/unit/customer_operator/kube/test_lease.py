"""The lock on the Lease, with a clock that the tests turn, against a server that fails in every way."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from customer_operator.errors import ClusterError, ClusterUnreachable, Conflict
from customer_operator.kube.lease import LeaseLock
from tests.support.leases import DURATION, Clock, LeaseServer, Locks, Trouble

SHORT = 2.0  # seconds that a request may take where it hangs, and others on a busy machine


async def vanish(server: LeaseServer, lock: LeaseLock, clock: Clock) -> None:
    """Delete the Lease, and let the time pass for which somebody may rely on it all the same."""
    server.lease = None
    assert await lock.acquire() is None
    clock.seconds += DURATION


async def test_a_lease_that_nobody_has_ever_held_is_taken_at_once(server: LeaseServer, lock_of: Locks) -> None:
    assert await lock_of().acquire() == 1000
    assert server.lease is not None
    assert server.lease["spec"] == {
        "holderIdentity": "one",
        "leaseDurationSeconds": DURATION,
        "acquireTime": "2026-11-21T12:00:00.000000Z",
        "renewTime": "2026-11-21T12:00:00.000000Z",
        "leaseTransitions": 0,
    }


async def test_a_lease_that_is_not_there_was_deleted_and_somebody_may_rely_on_it(
    server: LeaseServer, lock_of: Locks, clock: Clock
) -> None:
    server.lease = None
    lock = lock_of()
    assert await lock.acquire() is None
    clock.seconds += DURATION - 0.01
    assert await lock.acquire() is None
    clock.seconds += 0.01
    assert await lock.acquire() == clock.seconds
    assert server.holder == "one"


async def test_what_counts_is_when_the_request_was_sent_not_when_it_was_answered(
    server: LeaseServer, lock_of: Locks, clock: Clock
) -> None:
    def while_the_server_works(_: object) -> str:
        clock.seconds += 7
        return "one"

    lock = lock_of()
    await lock.acquire()
    server.troubles = _Looked(while_the_server_works)
    assert await lock.acquire() == 1000
    assert clock.seconds == 1007


class _Looked(dict[tuple[str, str], Trouble]):
    """Tells when the server looks whether a request shall fail."""

    def __init__(self, told: Callable[[object], object]) -> None:
        self._told = told

    def get(self, key: object, default: object = None) -> None:  # type: ignore[override]
        self._told(key)


async def test_a_held_lease_is_renewed_with_one_request(server: LeaseServer, lock_of: Locks, clock: Clock) -> None:
    lock = lock_of()
    await lock.acquire()
    server.requests.clear()
    clock.time_of_day += timedelta(seconds=2)
    await lock.acquire()
    assert server.requests == [("one", "PUT")]
    assert server.lease is not None
    assert server.lease["spec"]["acquireTime"] == "2026-11-21T12:00:00.000000Z"
    assert server.lease["spec"]["renewTime"] == "2026-11-21T12:00:02.000000Z"


@pytest.mark.parametrize("jump", [timedelta(0), timedelta(days=-1), timedelta(days=1)])
async def test_a_time_of_day_that_stands_or_jumps_renews_all_the_same(
    server: LeaseServer, lock_of: Locks, clock: Clock, jump: timedelta
) -> None:
    """A write that changes nothing leaves the resourceVersion as it is, and others would see no renewal."""
    lock = lock_of()
    seen = set()
    for _ in range(4):
        await lock.acquire()
        clock.time_of_day += jump
        seen.add(server.version)
    assert len(seen) == 4


@pytest.mark.parametrize("stamp", ["1990-01-01T00:00:00.000000Z", "2090-01-01T00:00:00.000000Z"])
async def test_another_s_lease_runs_out_by_our_clock_from_our_first_look_whatever_time_it_says(
    server: LeaseServer, lock_of: Locks, clock: Clock, stamp: str
) -> None:
    server.hold("two", stamp=stamp)
    lock = lock_of()
    assert await lock.acquire() is None
    clock.time_of_day += timedelta(days=1)
    clock.seconds += DURATION - 0.01
    assert await lock.acquire() is None
    clock.seconds += 0.01
    assert await lock.acquire() == clock.seconds
    assert server.lease is not None
    assert (server.holder, server.lease["spec"]["leaseTransitions"]) == ("one", 1)


async def test_a_renewal_makes_the_others_wait_anew(server: LeaseServer, lock_of: Locks, clock: Clock) -> None:
    mine, other = lock_of("one"), lock_of("two")
    await other.acquire()
    for _ in range(3):
        assert await mine.acquire() is None
        clock.seconds += DURATION - 1
        assert await other.acquire() is not None
    assert await mine.acquire() is None
    clock.seconds += DURATION
    assert await mine.acquire() is not None


async def test_for_how_long_a_lease_is_another_s_is_for_its_holder_to_say(
    server: LeaseServer, lock_of: Locks, clock: Clock
) -> None:
    """In a rolling change of the settings the replicas do not agree about it."""
    server.hold("two", duration=600)
    lock = lock_of(duration=5)
    assert await lock.acquire() is None
    clock.seconds += 599
    assert await lock.acquire() is None
    clock.seconds += 1
    assert await lock.acquire() is not None


@pytest.mark.parametrize("holder", [None, ""])
async def test_a_lease_that_was_given_back_is_taken_at_once(
    server: LeaseServer, lock_of: Locks, holder: str | None
) -> None:
    server.hold(holder)
    assert await lock_of().acquire() is not None


async def test_who_is_slower_at_taking_a_free_lease_does_not_have_it(server: LeaseServer, lock_of: Locks) -> None:
    server.hold(None)
    lock = lock_of()
    server.fail(Trouble.CONFLICT, "PUT")
    with pytest.raises(Conflict):
        await lock.acquire()
    server.fail(None)
    server.hold("two")
    assert await lock.acquire() is None


async def test_what_somebody_else_writes_beside_our_claim_is_kept_and_costs_nothing(
    server: LeaseServer, lock_of: Locks
) -> None:
    lock = lock_of()
    await lock.acquire()
    server.edit(team="platform")
    assert await lock.acquire() is not None
    assert server.lease is not None
    assert server.lease["metadata"]["labels"] == {"team": "platform"}


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_answer_lost_after_its_effect_is_found_out(
    server: LeaseServer, lock_of: Locks, clock: Clock, method: str
) -> None:
    lock = lock_of(deadline=SHORT)
    await (lock.acquire() if method == "PUT" else vanish(server, lock, clock))
    clock.time_of_day += timedelta(seconds=2)
    server.fail(Trouble.ANSWER_LOST, method)
    with pytest.raises(ClusterUnreachable):
        await lock.acquire()
    assert server.holder == "one"
    server.fail(None)
    assert await lock.acquire() is not None
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 0


@pytest.mark.parametrize("trouble", [Trouble.HANGS, Trouble.RESET, Trouble.UNAVAILABLE])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_no_answer_is_neither_won_nor_lost(
    server: LeaseServer, lock_of: Locks, clock: Clock, trouble: Trouble, method: str
) -> None:
    lock = lock_of(deadline=SHORT)
    await (lock.acquire() if method == "PUT" else vanish(server, lock, clock))
    server.fail(trouble, method)
    for _ in range(2):
        with pytest.raises(ClusterUnreachable):
            await lock.acquire()
    server.fail(None)
    assert await lock.acquire() is not None


async def test_a_lease_deleted_under_its_holder_is_created_again_at_once(server: LeaseServer, lock_of: Locks) -> None:
    lock = lock_of()
    await lock.acquire()
    server.lease = None
    assert await lock.acquire() is not None
    assert server.holder == "one"


async def test_a_lease_deleted_under_another_holder_leaves_its_claim_behind(
    server: LeaseServer, lock_of: Locks, clock: Clock
) -> None:
    server.hold("two")
    lock = lock_of()
    assert await lock.acquire() is None
    clock.seconds += DURATION - 1
    server.lease = None
    assert await lock.acquire() is None
    clock.seconds += DURATION - 1
    assert await lock.acquire() is None
    clock.seconds += 1
    assert await lock.acquire() is not None


async def test_a_lease_created_again_by_another_is_the_other_s(server: LeaseServer, lock_of: Locks) -> None:
    lock = lock_of()
    await lock.acquire()
    server.lease = None
    server.hold("two")
    assert await lock.acquire() is None


async def test_a_process_that_starts_again_takes_its_own_lease_up_at_once(server: LeaseServer, lock_of: Locks) -> None:
    await lock_of().acquire()
    assert await lock_of().acquire() is not None
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 0


async def test_of_two_processes_by_one_name_only_one_holds_the_lease(
    server: LeaseServer, lock_of: Locks, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    former, latter = lock_of(), lock_of()
    await former.acquire()
    clock.time_of_day += timedelta(seconds=1)
    await latter.acquire()
    assert await former.acquire() is None
    assert "another replica goes by the name one too; give each an IDENTITY of its own" in caplog.text
    clock.seconds += DURATION - 1
    assert await former.acquire() is None
    assert await latter.acquire() is not None


async def test_what_is_released_is_free(server: LeaseServer, lock_of: Locks) -> None:
    lock, other = lock_of("one"), lock_of("two")
    await lock.acquire()
    assert await other.acquire() is None
    await lock.release()
    assert server.holder is None
    assert await other.acquire() is not None
    await lock.release()
    assert server.holder == "two"


async def test_a_lease_that_we_hold_without_knowing_is_released(server: LeaseServer, lock_of: Locks) -> None:
    lock = lock_of(deadline=SHORT)
    server.fail(Trouble.ANSWER_LOST, "PUT")
    with pytest.raises(ClusterError):
        await lock.acquire()
    server.fail(None)
    await lock.release()
    assert server.lease is not None
    assert server.holder is None


async def test_who_never_wrote_releases_nothing_and_asks_for_nothing(server: LeaseServer, lock_of: Locks) -> None:
    await lock_of().release()
    assert server.requests == []


@pytest.mark.parametrize("trouble", Trouble)
async def test_a_release_that_fails_is_left_to_time(server: LeaseServer, lock_of: Locks, trouble: Trouble) -> None:
    lock = lock_of(deadline=SHORT)
    await lock.acquire()
    server.fail(trouble, "GET", "PUT")
    await lock.release()
