"""Whatever number of callers asks, what is shared is looked up once at a time."""

import asyncio

import pytest

from billing_api.errors import DatabaseUnavailable
from billing_api.http.shared import Shared
from tests.support.clocks import pass_time


class Looks:
    """Looks that end when the test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def look(self) -> int:
        self.begun += 1
        return await asyncio.shield(self.outcome)

    def end(self, outcome: int | Exception) -> None:
        """End the look that is under way; the next one waits for the next end."""
        ended, self.outcome = self.outcome, asyncio.get_running_loop().create_future()
        ended.set_exception(outcome) if isinstance(outcome, Exception) else ended.set_result(outcome)


async def _ask(shared: Shared[int], number: int) -> list[asyncio.Task[int]]:
    """Let so many ask, and come to where they wait."""
    asking = [asyncio.create_task(shared.get()) for _ in range(number)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return asking


async def test_all_who_ask_at_once_share_one_look() -> None:
    looks = Looks()
    asking = await _ask(Shared(looks.look, seconds=5), 100)
    looks.end(7)
    assert await asyncio.gather(*asking) == [7] * 100
    assert looks.begun == 1


async def test_what_is_known_is_known_for_a_while_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks()
    shared = Shared(looks.look, seconds=1000)
    [first] = await _ask(shared, 1)
    looks.end(7)
    assert await first == 7
    pass_time(monkeypatch, 900)
    assert await shared.get() == 7
    pass_time(monkeypatch, 100)
    [second] = await _ask(shared, 1)
    looks.end(8)
    assert await second == 8
    assert looks.begun == 2


async def test_a_failure_is_told_to_all_who_wait_and_is_not_kept() -> None:
    looks = Looks()
    shared = Shared(looks.look, seconds=5)
    asking = await _ask(shared, 3)
    looks.end(DatabaseUnavailable("gone"))
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 3
    asking = await _ask(shared, 3)
    looks.end(7)
    assert await asyncio.gather(*asking) == [7] * 3
    assert looks.begun == 2


async def test_a_failure_after_something_known_ends_what_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks()
    shared = Shared(looks.look, seconds=5)
    for outcome in (7, DatabaseUnavailable("gone"), 8):
        asking = await _ask(shared, 2)
        looks.end(outcome)
        await asyncio.wait(asking)
        pass_time(monkeypatch, 6)
    assert looks.begun == 3
    assert [task.result() for task in asking] == [8, 8]


async def test_who_goes_away_takes_the_look_from_nobody() -> None:
    looks = Looks()
    shared = Shared(looks.look, seconds=5)
    first, other = await _ask(shared, 2)
    first.cancel()
    await asyncio.wait({first})
    looks.end(7)
    assert await other == 7
    assert looks.begun == 1
