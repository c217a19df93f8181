"""Clocks that do not wait, and one that counts only what was waited for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

import pytest

from hack.tasks import running

_TICK_SECONDS = 0.01


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the clock of this event loop jump ahead: whatever sleeps for less wakes up at its next turn."""
    loop = asyncio.get_running_loop()
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + seconds)


@dataclass
class IdleClock:
    """Seconds in which this event loop had nothing to do but wait."""

    seconds: float = 0.0

    async def run(self) -> None:
        """Count for ever: of a turn that came late, for the loop or the machine was busy, no more than two ticks."""
        while True:
            began = monotonic()
            await asyncio.sleep(_TICK_SECONDS)
            self.seconds += min(monotonic() - began, 2 * _TICK_SECONDS)


@asynccontextmanager
async def idle_clock() -> AsyncIterator[IdleClock]:
    """Give a clock for promises that a server makes, kept by a server that shares its loop and machine with a test."""
    clock = IdleClock()
    async with running(clock.run()):
        yield clock
