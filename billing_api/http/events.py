"""Server-sent events (the HTML standard, section 9.2)."""

import asyncio
from collections.abc import AsyncIterator

from billing_api.http.models import Answer

#: Proxies end a connection on which nothing moves, most of them after a minute; a comment is no event.
_KEEP_ALIVE_SECONDS = 15.0
_KEEP_ALIVE = b": keep-alive\n\n"


async def stream(answers: AsyncIterator[Answer], *, keep_alive: float = _KEEP_ALIVE_SECONDS) -> AsyncIterator[bytes]:
    """Yield each answer as an event, and a comment whenever there was none for a while.

    Args:
        answers: what to send; its end ends the stream. It is closed when the client is gone.
        keep_alive: seconds of silence until a comment is sent.
    """
    following = asyncio.ensure_future(anext(answers, None))
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
            following = asyncio.ensure_future(anext(answers, None))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        if hasattr(answers, "aclose"):
            await answers.aclose()
