"""One look for all who want to know at about the same time, so that no number of them costs more than one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

_SECONDS: Final = 1.0


class Shared:
    """A question whose answer is yes or no, and holds for a second."""

    def __init__(self, look: Callable[[], Awaitable[bool]]) -> None:
        """Take what finds the answer, and raises nothing."""
        self._look = look
        self._looking: asyncio.Task[bool] | None = None
        self._known_until = 0.0

    async def get(self) -> bool:
        """Return what is known, or wait for the look that is under way."""
        now = asyncio.get_running_loop().time()
        if self._looking is None or (self._looking.done() and now >= self._known_until):
            self._looking = asyncio.create_task(self._find_out())
        # Who goes away takes it from nobody else.
        return await asyncio.shield(self._looking)

    async def _find_out(self) -> bool:
        found = await self._look()
        self._known_until = asyncio.get_running_loop().time() + _SECONDS
        return found
