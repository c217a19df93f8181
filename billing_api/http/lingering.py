"""A transport that closes so that the last answer arrives, even when the client has not finished its request."""

import asyncio
from collections.abc import Callable
from typing import Any

from billing_api.http.intake import Intake


class LingeringTransport(asyncio.Transport):
    """Another transport, whose `close` ends only our side while the client may still be sending.

    A socket that is closed with unread data in it answers with a reset, and a reset makes the client's kernel forget
    the answer that it has not read yet (RFC 9112 section 9.6). Whoever owns the transport aborts it in the end.
    """

    def __init__(self, inner: asyncio.Transport, *, intake: Intake, on_close: Callable[[], bool]) -> None:
        """Wrap a transport.

        Args:
            inner: the transport.
            intake: what comes passes through it.
            on_close: is called once, before, and says whether the client may still be sending.
        """
        super().__init__()
        self._inner = inner
        self._intake = intake
        self._on_close = on_close
        self._closing = False

    def close(self) -> None:
        """End our side once all is written; the other, too, unless something may still come."""
        if self._closing or self._inner.is_closing():
            return
        sending = self._on_close()
        self._closing = True
        if sending:
            self._inner.write_eof()
        else:
            self._inner.close()

    def abort(self) -> None:
        """End both sides at once."""
        self._closing = True
        self._inner.abort()

    def is_closing(self) -> bool:
        """Tell whether either side has begun to close."""
        return self._closing or self._inner.is_closing()

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        """Write, unless it is closed."""
        if not self._closing:
            self._inner.write(data)

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes not yet handed to the kernel."""
        return self._inner.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Leave what comes to the kernel."""
        self._intake.pause()

    def resume_reading(self) -> None:
        """Take what comes."""
        self._intake.resume()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection."""
        return self._inner.get_extra_info(name, default)
