import asyncio
import time
from collections.abc import Awaitable, Coroutine
from typing import Any

import pytest

from billing_api.accounts.passwords import Passwords, hash_password, verify_password
from billing_api.errors import ServiceUnavailable

HASHED = hash_password("SecurePass123")


def test_a_hash_is_bcrypt_of_cost_ten_and_verifies_only_its_password() -> None:
    hashed = hash_password("SecurePass123")
    assert hashed.startswith("$2b$10$")
    assert verify_password("SecurePass123", hashed)
    assert not verify_password("SecurePass124", hashed)


@pytest.mark.parametrize("password", ["", "x", "SecurePass123", "x" * 10_000])
def test_nothing_matches_an_account_that_does_not_exist(password: str) -> None:
    assert not verify_password(password, None)


def test_a_password_longer_than_bcrypt_reads_does_not_match_its_beginning() -> None:
    hashed = hash_password("x" * 72)
    assert verify_password("x" * 72, hashed)
    assert not verify_password("x" * 73, hashed)


def test_an_unknown_account_costs_as_much_as_a_known_one() -> None:
    hashed = hash_password("SecurePass123")

    def fastest(password: str, password_hash: str | None) -> float:
        times = []
        for _ in range(5):
            started = time.thread_time()
            verify_password(password, password_hash)
            times.append(time.thread_time() - started)
        return min(times)

    known, unknown = fastest("wrong password", hashed), fastest("wrong password", None)
    too_long = fastest("x" * 73, hashed)
    assert 0.5 < unknown / known < 2
    assert 0.5 < too_long / known < 2


async def test_the_event_loop_goes_on_while_passwords_are_hashed() -> None:
    turns = 0
    with Passwords(queue=1, threads=1) as passwords:
        hashing = asyncio.ensure_future(passwords.hash("SecurePass123"))
        while not hashing.done():
            turns += 1
            await asyncio.sleep(0)
        assert await passwords.verify("SecurePass123", hashing.result())
    assert turns > 10


async def _note(order: list[str], name: str, work: Awaitable[object]) -> None:
    await work
    order.append(name)


@pytest.mark.parametrize("flooded", ["verify", "hash"])
async def test_neither_lane_is_starved_by_a_flood_in_the_other(flooded: str) -> None:
    order: list[str] = []
    with Passwords(queue=20, threads=1) as passwords:

        def work(lane: str) -> Awaitable[object]:
            return passwords.verify("SecurePass123", HASHED) if lane == "verify" else passwords.hash("SecurePass123")

        [other] = {"verify", "hash"} - {flooded}
        lanes = [*[flooded] * 20, other, other]
        await asyncio.gather(*(_note(order, lane, work(lane)) for lane in lanes))
    # One of the flood is at work when the others arrive; then the lanes take turns.
    assert len(order) == 22
    assert order[:5].count(other) == 2


async def test_past_the_bound_of_a_lane_the_answer_is_at_once_that_there_is_no_room() -> None:
    with Passwords(queue=2, threads=1) as passwords:
        tries = [asyncio.create_task(passwords.verify("SecurePass123", HASHED)) for _ in range(5)]
        await asyncio.sleep(0)
        assert passwords.waiting("verify") == 2
        refused = [attempt for attempt in tries if attempt.done()]
        assert tries[3:] == refused
        for attempt in refused:
            error = attempt.exception()
            assert isinstance(error, ServiceUnavailable)
            assert int(error.headers["Retry-After"]) >= 1
        # The other lane has its own room.
        assert await passwords.hash("SecurePass123")
        assert await asyncio.gather(*tries[:3]) == [True] * 3
        assert passwords.waiting("verify") == 0


async def test_one_address_fills_a_quarter_of_the_lane_at_most() -> None:
    def verify(address: str) -> Coroutine[Any, Any, bool]:
        return passwords.verify("SecurePass123", HASHED, address=address)

    with Passwords(queue=8, threads=1) as passwords:
        flood = [asyncio.create_task(verify("203.0.113.7/32")) for _ in range(20)]
        await asyncio.sleep(0)
        assert (sum(not attempt.done() for attempt in flood), passwords.waiting("verify")) == (3, 2)
        others = [asyncio.create_task(verify(f"198.51.100.{number}/32")) for number in range(6)]
        await asyncio.sleep(0)
        assert passwords.waiting("verify") == 8
        assert await asyncio.gather(*others) == [True] * 6
        outcomes = await asyncio.gather(*flood, return_exceptions=True)
        assert (outcomes.count(True), len(outcomes)) == (3, 20)
        # Who has left the lane makes room.
        assert await asyncio.gather(*(verify("203.0.113.7/32") for _ in range(3))) == [True] * 3


@pytest.mark.parametrize(("threads", "seconds"), [(1, 6), (2, 3)])
async def test_who_finds_no_room_is_told_when_those_before_will_be_done(threads: int, seconds: int) -> None:
    # A hundred of 60 ms each, as long as none has been measured.
    with Passwords(queue=100, threads=threads) as passwords:
        tries = [asyncio.create_task(passwords.verify("SecurePass123", HASHED)) for _ in range(100 + threads)]
        await asyncio.sleep(0)
        with pytest.raises(ServiceUnavailable) as refused:
            await passwords.verify("SecurePass123", HASHED)
        for attempt in tries:
            attempt.cancel()
        await asyncio.wait(tries)
    assert refused.value.headers == {"Retry-After": str(seconds)}


async def test_whoever_gives_up_waiting_makes_room_and_takes_no_thread_along() -> None:
    with Passwords(queue=2, threads=1) as passwords:
        at_work, *waiting = [asyncio.create_task(passwords.verify("SecurePass123", HASHED)) for _ in range(3)]
        await asyncio.sleep(0)
        for attempt in (at_work, *waiting):
            attempt.cancel()
        await asyncio.wait([at_work, *waiting])
        assert passwords.waiting("verify") == 0
        async with asyncio.timeout(30):
            assert await asyncio.gather(*(passwords.verify("SecurePass123", HASHED) for _ in range(2))) == [True] * 2
            assert await passwords.verify("SecurePass123", HASHED)


class _Interrupting(Passwords):
    """Cancels a task in the moment in which a thread is handed on, before the task can take it."""

    victim: asyncio.Task[bool] | None = None

    def _next(self) -> None:
        super()._next()
        if self.victim is not None:
            victim, self.victim = self.victim, None
            victim.cancel()


async def test_a_thread_that_was_handed_to_somebody_who_gives_up_goes_to_the_next() -> None:
    with _Interrupting(queue=2, threads=1) as passwords:
        first = asyncio.create_task(passwords.verify("SecurePass123", HASHED))
        second = asyncio.create_task(passwords.verify("SecurePass123", HASHED))
        await asyncio.sleep(0)
        passwords.victim = second
        await asyncio.wait([first, second])
        assert (first.result(), second.cancelled()) == (True, True)
        async with asyncio.timeout(30):
            assert await passwords.verify("SecurePass123", HASHED)
