"""What comes is handed on in parts, one in each turn of the event loop, and nothing is lost, doubled or disordered."""

import asyncio
import random
from collections.abc import Callable

from billing_api.http.intake import PART_BYTES, Intake


class Pipe(asyncio.Transport):
    """A transport that only remembers whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Reader:
    """Takes parts, and notes in which turn of the event loop."""

    def __init__(self, react: Callable[[Intake], None] = lambda _: None) -> None:
        self.pipe = Pipe()
        self.intake = Intake(self.pipe, self.take)
        self.turn = 0
        self.parts: list[tuple[int, bytes]] = []
        self.react = react

    def take(self, part: bytes) -> None:
        self.parts.append((self.turn, part))
        self.react(self.intake)

    async def turns(self, number: int) -> None:
        for _ in range(number):
            self.turn += 1
            await asyncio.sleep(0)

    @property
    def content(self) -> bytes:
        return b"".join(part for _, part in self.parts)


async def test_what_is_little_is_handed_on_at_once() -> None:
    reader = Reader()
    reader.intake.receive(b"GET / HTTP/1.1")
    assert reader.parts == [(0, b"GET / HTTP/1.1")]
    assert (reader.pipe.reading, len(reader.intake)) == (True, 0)


async def test_what_is_much_takes_as_many_turns_as_it_has_parts() -> None:
    reader = Reader()
    data = random.Random(1).randbytes(5 * PART_BYTES + 7)
    reader.intake.receive(data)
    assert not reader.pipe.reading
    await reader.turns(10)
    assert [len(part) for _, part in reader.parts] == [PART_BYTES] * 5 + [7]
    assert len({turn for turn, _ in reader.parts}) == 6
    assert reader.content == data
    assert reader.pipe.reading


async def test_what_comes_all_the_same_waits_for_its_turn() -> None:
    reader = Reader()
    pieces = [bytes([number]) * (PART_BYTES * 3 // 2) for number in range(6)]
    for piece in pieces:
        reader.intake.receive(piece)
    assert len(reader.parts) == 1
    await reader.turns(12)
    assert reader.content == b"".join(pieces)
    assert len({turn for turn, _ in reader.parts}) == len(reader.parts) == 9


async def test_while_it_is_paused_nothing_is_handed_on() -> None:
    reader = Reader(react=Intake.pause)
    reader.intake.receive(b"x" * 3 * PART_BYTES)
    await reader.turns(3)
    assert (len(reader.parts), reader.pipe.reading) == (1, False)
    for _ in range(2):
        reader.intake.resume()
        reader.intake.resume()
        await reader.turns(2)
    assert (len(reader.parts), len(reader.intake), reader.pipe.reading) == (3, 0, False)
    reader.intake.resume()
    assert reader.pipe.reading


async def test_what_is_dropped_is_not_handed_on() -> None:
    reader = Reader(react=Intake.drop)
    reader.intake.receive(b"x" * 3 * PART_BYTES)
    await reader.turns(3)
    assert (len(reader.parts), reader.pipe.reading) == (1, True)
    reader.intake.receive(b"more")
    assert reader.parts[-1][1] == b"more"
