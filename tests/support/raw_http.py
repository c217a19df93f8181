"""HTTP by hand, for clients that no library would be."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

# Seconds; generous, because a test waits no longer than it has to.
PATIENCE = 60.0
READY = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """One response, read off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        document: dict[str, Any] = json.loads(self.body)
        return document


@dataclass(frozen=True)
class RawClient:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send these bytes, as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: Iterable[int], *, every: float = 0.05) -> Answer:
        """Send one byte `every` so many seconds until the server answers; return its answer."""
        answer = asyncio.create_task(self.answer())
        for byte in data:
            self.writer.write(bytes([byte]))
            await asyncio.wait({answer}, timeout=every)
            if answer.done():
                break
        return await answer

    async def answer(self) -> Answer:
        """Read one response that has a Content-Length."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split()[1]), headers, body)

    async def is_ended(self) -> bool:
        """Read until the server hangs up; return whether there was nothing more to read."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read() == b""


@asynccontextmanager
async def connections(address: str | httpx.URL, number: int = 1) -> AsyncIterator[list[RawClient]]:
    """Open connections to a server."""
    url = httpx.URL(address)
    _allow_files(number + 200)
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(number):
            client = RawClient(*await asyncio.open_connection(url.host, url.port))
            stack.callback(client.writer.close)
            clients.append(client)
        yield clients


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, hard)), hard))


def post(path: str, body: bytes, *, length: int | None = None) -> bytes:
    """Return a POST of JSON; `length` declares more than there is."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length or len(body)}"
    return head.encode() + b"\r\n\r\n" + body
