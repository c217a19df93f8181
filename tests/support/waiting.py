"""To wait for what nobody announces."""

import asyncio
import time
from collections.abc import Callable

PATIENCE = 30.0  # seconds


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once a condition holds; it is looked at every few milliseconds, for half a minute at most."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing sets an event for it
            await asyncio.sleep(0.005)


def wait_until(condition: Callable[[], object], *, timeout: float = PATIENCE, interval: float = 0.05) -> None:
    """Return once a condition holds, as `eventually` does where nothing else has to go on meanwhile.

    `interval` is how long to wait between two looks (seconds). Raises TimeoutError when it does not hold in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s")
        time.sleep(interval)
