"""What comes from a client, handed on in small parts: a lot of it at once must not keep all others waiting."""

import asyncio
from collections.abc import Callable
from typing import Final

#: h11 reads this in a few milliseconds, whatever it is; a socket may hand out sixteen times as much.
PART_BYTES: Final = 16 * 1024


class Intake:
    """Stands between a transport and who reads from it. One part is handed on in each turn of the event loop."""

    def __init__(self, transport: asyncio.Transport, hand_on: Callable[[bytes], None]) -> None:
        """Begin with nothing.

        Args:
            transport: is told to wait while something is still to be handed on.
            hand_on: takes a part; it may pause and resume.
        """
        self._transport = transport
        self._hand_on = hand_on
        self._rest = bytearray()
        self._wanted = True
        self._next: asyncio.Handle | None = None

    def __len__(self) -> int:
        """Return how many bytes are still to be handed on."""
        return len(self._rest)

    def receive(self, data: bytes) -> None:
        """Take what has come, and hand on the first part unless it is another's turn."""
        self._rest += data
        if self._next is None and self._wanted:
            self._part()
        else:
            self._go_on()

    def pause(self) -> None:
        """Hand on nothing more, and leave what comes to the kernel."""
        self._wanted = False
        self._transport.pause_reading()

    def resume(self) -> None:
        """Go on."""
        self._wanted = True
        self._go_on()

    def drop(self) -> None:
        """Forget what has not been handed on, and let more come."""
        self._rest.clear()
        self.resume()

    def _part(self) -> None:
        self._next = None
        if self._wanted and self._rest:
            part = bytes(self._rest[:PART_BYTES])
            del self._rest[:PART_BYTES]
            self._hand_on(part)
        self._go_on()

    def _go_on(self) -> None:
        if not self._rest:
            if self._wanted:
                self._transport.resume_reading()
            return
        self._transport.pause_reading()
        if self._wanted and self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._part)
