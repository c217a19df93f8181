"""A way to a real PostgreSQL that can be cut: the network as it fails."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from psycopg.conninfo import conninfo_to_dict

#: refused: nobody listens, and connections are reset; silent: connections are taken, and nothing comes back.
Failure = Literal["refused", "silent"]


class Relay:
    """Listens on a port of 127.0.0.1 and hands everything on to the Unix socket of a server."""

    def __init__(self, dsn: str) -> None:
        self._parts = conninfo_to_dict(dsn)
        self._flowing = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def dsn(self) -> str:
        """The URL of the database by way of this."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{self._parts['dbname']}"

    async def start(self) -> None:
        """Let everything through, from now on or again."""
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def fail(self, how: Failure) -> None:
        """Cut the way, for connections that are there and for new ones."""
        self._flowing.clear()
        if how == "refused":
            await self.stop()

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        self._flowing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writers.clear()
        self._tasks.clear()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = f"{self._parts['host']}/.s.PGSQL.5432"
        self._writers.add(writer)
        self._tasks.add(_this_task())
        await self._flowing.wait()
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(path)
            self._writers.add(server_writer)
            await asyncio.gather(self._pump(reader, server_writer), self._pump(server_reader, writer))
        except OSError:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


def _this_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task


#: What a test waits for, asked until it is so.
Condition = Callable[[], Awaitable[bool]]


async def until(condition: Condition) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - of what is outside of this process, nobody tells
            await asyncio.sleep(0.05)
