"""One look for all who want to know at about the same time, so that no number of them costs more than one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Something that is looked up for several callers at once, and then known for a while."""

    def __init__(self, look: Callable[[], Awaitable[T]], *, seconds: float) -> None:
        """Look nothing up yet.

        Args:
            look: finds it out; it runs once at a time.
            seconds: for so long what was found is taken for true.
        """
        self._look = look
        self._seconds = seconds
        self._looking: asyncio.Task[T] | None = None
        self._known_until = 0.0

    async def get(self) -> T:
        """Return what is known, or wait for the look that is under way.

        Raises:
            Whatever the look raises: all who wait for it hear of it, and the next to ask lets it look again.
        """
        now = asyncio.get_running_loop().time()
        if self._looking is None or (self._looking.done() and now >= self._known_until):
            self._looking = asyncio.create_task(self._find_out(), name="shared look")
            self._looking.add_done_callback(_note)
        # Who goes away takes it from nobody else.
        return await asyncio.shield(self._looking)

    async def _find_out(self) -> T:
        self._known_until = 0.0
        found = await self._look()
        self._known_until = asyncio.get_running_loop().time() + self._seconds
        return found


def _note(looking: "asyncio.Task[T]") -> None:
    """Take note of a failure that nobody waits for any more; asyncio would call it a defect."""
    if not looking.cancelled():
        looking.exception()
