"""Whoever asks how the API is, and as often as they like, has the database asked once."""

import asyncio

import pytest

from reference_api.shared import Shared


class Database:
    """Answers when it is let, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.is_away = False

    async def answers(self) -> bool:
        self.asked += 1
        await self.may_answer.wait()
        if self.is_away:
            raise OSError
        return True


async def test_any_number_who_ask_at_once_or_soon_afterwards_cost_one_look() -> None:
    database = Database()
    health = Shared(database.answers)
    waiting = [asyncio.create_task(health.get()) for _ in range(200)]
    await asyncio.sleep(0)
    database.may_answer.set()

    assert await asyncio.gather(*waiting) == [True] * 200
    assert await health.get()
    assert database.asked == 1


async def test_who_goes_away_takes_the_answer_from_nobody() -> None:
    database = Database()
    health = Shared(database.answers)
    gone, stays = asyncio.create_task(health.get()), asyncio.create_task(health.get())
    await asyncio.sleep(0)
    gone.cancel()
    database.may_answer.set()

    assert await stays


async def test_a_failure_is_not_kept() -> None:
    database = Database()
    database.may_answer.set()
    database.is_away = True
    health = Shared(database.answers)
    with pytest.raises(OSError):
        await health.get()
    database.is_away = False

    assert await health.get()
    assert database.asked == 2
