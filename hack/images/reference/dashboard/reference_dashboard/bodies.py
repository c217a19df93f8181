"""Bodies of requests, which anybody may send: bounded in size, in time, and in how many are read at once.

Otherwise a few hundred that never end would take all connections, those of the probes too.
"""

import asyncio
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS: Final = 10.0
_AT_ONCE: Final = 50  # a quarter of all connections


class Refused(Exception):
    """Answered with `status` and a text for people."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Bodies:
    """Reads them; one for the whole process."""

    def __init__(self) -> None:
        self._reading = 0

    async def read(self, request: Request, *, longest: int) -> bytes:
        """Return a body of at most `longest` bytes. Raises Refused."""
        if self._reading >= _AT_ONCE:
            raise Refused(503, "Too many requests at once. Try again shortly.")
        self._reading += 1
        try:
            async with asyncio.timeout(_SECONDS):
                return await _read(request, longest)
        except TimeoutError:
            raise Refused(408, "The request took too long.") from None
        finally:
            self._reading -= 1


async def _read(request: Request, longest: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > longest:
            raise Refused(413, "The request is too large.")
    return bytes(body)


class HangUp:
    """ASGI middleware: an answer that comes before the end of the body ends the connection, which would wait for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and see how much of its body is read."""
        is_unread = scope["type"] == "http" and not {"content-length", "transfer-encoding"}.isdisjoint(
            Headers(scope=scope)
        )

        async def read() -> Message:
            nonlocal is_unread
            message = await receive()
            is_unread = is_unread and message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            if is_unread and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, read, answer)
