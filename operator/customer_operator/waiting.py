"""Waits for work that is due at a time, or becomes so when something changes."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Work = TypeVar("Work")


async def next_due(
    take: Callable[[], Work | None], *, wait: Callable[[], float | None], changed: asyncio.Event
) -> Work:
    """Return what `take` gives as soon as it gives anything.

    `wait` returns the seconds until that may be, None for not by itself; `changed` is set when it may be sooner.
    """
    while True:
        changed.clear()
        if (work := take()) is not None:
            return work
        # A timeout of no time would take a cancellation that comes with it for its own.
        if (seconds := wait()) != 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await changed.wait()
