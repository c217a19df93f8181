"""Server-sent events (the HTML standard, section 9.2)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from billing_api.http.models import Answer

#: Proxies end a connection on which nothing moves, most of them after a minute; a comment is no event.
_KEEP_ALIVE_SECONDS = 15.0
_KEEP_ALIVE = b": keep-alive\n\n"


class Answers(Protocol):
    """What a stream is made of; an async generator is one."""

    async def __anext__(self) -> Answer:
        """Return the next answer; raises StopAsyncIteration when there are no more."""

    async def aclose(self) -> None:
        """Give up what it holds."""


class EventResponse(StreamingResponse):
    """A stream of server-sent events that closes its source however it ends, and also when it never begins."""

    def __init__(self, answers: Answers, *, headers: Mapping[str, str]) -> None:
        super().__init__(stream(answers), media_type="text/event-stream", headers=headers)
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream, until it ends or the client is gone."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answers.aclose()


async def stream(answers: Answers, *, keep_alive: float = _KEEP_ALIVE_SECONDS) -> AsyncIterator[bytes]:
    """Yield each answer as an event, and a comment whenever there was none for a while.

    Args:
        answers: what to send; its end ends the stream.
        keep_alive: seconds of silence until a comment is sent.
    """
    following = _next(answers)
    try:
        while True:
            done, _ = await asyncio.wait([following], timeout=keep_alive)
            if not done:
                yield _KEEP_ALIVE
                continue
            answer = following.result()
            if answer is None:
                return
            yield b"data: " + answer.model_dump_json().encode() + b"\n\n"
            following = _next(answers)
    finally:
        # A source in the middle of its next answer cannot be closed.
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _next(answers: Answers) -> asyncio.Task[Answer | None]:
    async def following() -> Answer | None:
        try:
            return await answers.__anext__()
        except StopAsyncIteration:
            return None

    return asyncio.create_task(following(), name="events")
