"""h11, which also counts how much of what comes is no content."""

import h11


class Wire(h11.Connection):
    """The server's side of a connection."""

    def __init__(self, *, max_head_bytes: int) -> None:
        """Begin; request line and headers may have so many bytes."""
        super().__init__(h11.SERVER, max_head_bytes)
        self._received = self._head_ended_at = self._content = 0

    def receive_data(self, data: bytes) -> None:
        """Take what has come; see h11."""
        self._received += len(data)
        super().receive_data(data)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return what it means; see h11."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._head_ended_at, self._content = self._read(), 0
        elif isinstance(event, h11.Data):
            self._content += len(event.data)
        return event

    @property
    def framing(self) -> int:
        """Bytes of the body so far that only say how long its parts are (RFC 9112 section 7.1)."""
        return self._read() - self._head_ended_at - self._content

    def _read(self) -> int:
        return self._received - len(self.trailing_data[0])
