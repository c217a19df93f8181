"""What is refused without the database: remembered for a while, and bounded."""

import asyncio

import pytest

from billing_api.accounts.floods import Refusals, Turns
from billing_api.db.pool import ANSWER_SECONDS
from billing_api.errors import DatabaseUnavailable
from tests.support.clocks import pass_time


async def test_a_full_bucket_is_remembered_for_some_seconds_and_says_when_it_has_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusals = Refusals()
    refusals.remember("full", seconds=900)
    assert refusals.seconds("full") in {899, 900}
    assert refusals.seconds("other") == 0
    pass_time(monkeypatch, 4)
    assert 880 < refusals.seconds("full") <= 896
    pass_time(monkeypatch, 1)
    assert refusals.seconds("full") == 0
    assert len(refusals) == 0


async def test_a_bucket_that_has_room_sooner_is_not_refused_any_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = Refusals()
    refusals.remember("full", seconds=1)
    pass_time(monkeypatch, 1)
    assert refusals.seconds("full") == 0


async def test_what_is_remembered_is_bounded_and_the_newest_stays() -> None:
    refusals = Refusals(most=100)
    for number in range(1000):
        refusals.remember(number, seconds=900)
        refusals.remember("again", seconds=900)
    assert len(refusals) == 100
    assert refusals.seconds("again")
    assert refusals.seconds(999)
    assert not refusals.seconds(0)


async def test_what_is_forgotten_is_looked_at_again() -> None:
    refusals = Refusals()
    refusals.remember("full", seconds=900)
    refusals.forget("full")
    refusals.forget("full")
    assert refusals.seconds("full") == 0


class Calls:
    """Calls of one address that hold their turn until they are let go."""

    def __init__(self, turns: Turns, *, most: int = 100) -> None:
        self.turns = turns
        self.most = most
        self.holding = 0
        self.let_go = asyncio.Event()

    async def call(self) -> str:
        turn = self.turns.of("address", most=self.most)
        if turn is None:
            return "refused"
        async with turn as left:
            assert left <= ANSWER_SECONDS
            self.holding += 1
            await self.let_go.wait()
            self.holding -= 1
        return "served"


async def _begin(calls: Calls, number: int) -> list[asyncio.Task[str]]:
    begun = [asyncio.create_task(calls.call()) for _ in range(number)]
    for _ in range(5):
        await asyncio.sleep(0)
    return begun


async def test_of_one_address_three_calls_are_at_the_database_and_the_others_wait() -> None:
    turns = Turns()
    calls = Calls(turns)
    begun = await _begin(calls, 30)
    assert calls.holding == 3
    other = turns.of("another address", most=1)
    assert other is not None
    async with other:
        assert calls.holding == 3
    calls.let_go.set()
    assert await asyncio.gather(*begun) == ["served"] * 30
    assert (calls.holding, len(turns)) == (0, 0)


async def test_more_than_could_be_allowed_are_refused_at_once() -> None:
    calls = Calls(Turns(), most=5)
    begun = await _begin(calls, 20)
    assert sum(task.done() for task in begun) == 15
    calls.let_go.set()
    assert sorted(await asyncio.gather(*begun)) == ["refused"] * 15 + ["served"] * 5


async def test_who_waits_longer_than_a_request_may_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    calls = Calls(turns)
    begun = await _begin(calls, 10)
    pass_time(monkeypatch, 1)
    waiting = begun[3:]
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailable}
    calls.let_go.set()
    assert await asyncio.gather(*begun[:2]) == ["served"] * 2
    assert len(turns) == 0


async def test_who_goes_away_leaves_the_turn_to_others() -> None:
    turns = Turns()
    calls = Calls(turns)
    begun = await _begin(calls, 6)
    for gone in (begun[0], begun[4]):
        gone.cancel()
    await asyncio.wait([begun[0], begun[4]])
    calls.let_go.set()
    assert await asyncio.gather(*(begun[number] for number in (1, 2, 3, 5))) == ["served"] * 4
    assert len(turns) == 0
