"""What the server adds to every request: time for its body, and an orderly end when the process stops."""

import asyncio
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing_api.errors import FieldError, RequestTimeout

_DISCONNECT: Message = {"type": "http.disconnect"}


@dataclass(frozen=True)
class Ending:
    """How far the process is with stopping.

    Attributes:
        begun: readiness says so, and no connection is kept alive.
        streams: event streams end.
    """

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    streams: asyncio.Event = field(default_factory=asyncio.Event)


class Exchanges:
    """ASGI application around the application; ``request.state.stopping`` tells it that the process stops."""

    def __init__(self, app: ASGIApp, *, body_seconds: float, ending: Ending) -> None:
        self._app = app
        self._body_seconds = body_seconds
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["stopping"] = self._ending.begun.is_set()
        exchange = _Exchange(receive, send, body_seconds=self._body_seconds, ending=self._ending)
        try:
            await self._app(scope, exchange.receive, exchange.send)
            await exchange.finish()
        except asyncio.CancelledError:
            # Time is up: the server has answered in our place, and a traceback would only look like a defect.
            if not self._ending.streams.is_set():
                raise


class _Exchange:
    """One request and its answer."""

    def __init__(self, receive: Receive, send: Send, *, body_seconds: float, ending: Ending) -> None:
        self._receive = receive
        self._send = send
        self._body_seconds = body_seconds
        self._body_deadline = asyncio.get_running_loop().time() + body_seconds
        self._ending = ending
        self._body_complete = self._started = self._complete = False
        self._streaming = asyncio.Event()

    async def receive(self) -> Message:
        """Return the next part of the body, then wait for the client to go; a stream's client "goes" when we stop.

        Raises:
            RequestTimeout: the body is not complete in time, however steadily it comes.
        """
        return await (self._until_gone() if self._body_complete else self._body())

    async def send(self, message: Message) -> None:
        """Send a part of the answer; the last ones before the stop say that the connection is not kept."""
        if message["type"] == "http.response.start":
            self._started = True
            kind = Headers(raw=message["headers"]).get("content-type", "")
            if kind.startswith("text/event-stream"):
                self._streaming.set()
            if self._ending.begun.is_set():
                MutableHeaders(scope=message)["Connection"] = "close"
        elif message["type"] == "http.response.body":
            self._complete = not message.get("more_body", False)
        await self._send(message)

    async def finish(self) -> None:
        """Complete a stream that was ended by the stop, so that its client sees an end and no failure."""
        if self._streaming.is_set() and not self._complete and self._ending.streams.is_set():
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _body(self) -> Message:
        try:
            async with asyncio.timeout_at(self._body_deadline):
                message = await self._receive()
        except TimeoutError:
            if self._started:
                return _DISCONNECT
            detail = f"body must arrive within {self._body_seconds:g} seconds"
            errors = [FieldError("body", detail)]
            raise RequestTimeout(detail, errors=errors, headers={"Connection": "close"}) from None
        self._body_complete = not message.get("more_body", False)
        return message

    async def _until_gone(self) -> Message:
        gone = asyncio.ensure_future(self._receive())
        ended = asyncio.ensure_future(self._stream_ended())
        try:
            await asyncio.wait((gone, ended), return_when=asyncio.FIRST_COMPLETED)
            return _DISCONNECT if ended.done() else gone.result()
        finally:
            gone.cancel()
            ended.cancel()

    async def _stream_ended(self) -> None:
        # Starlette listens for the client to go before it sends the headers that say whether this is a stream.
        await self._streaming.wait()
        await self._ending.streams.wait()
