"""The relay carries bytes both ways, ends as either side ends, and refuses as the other side refuses."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from hack.node.addresses import LOOPBACK
from hack.node.relay import open_listener, serve

TIMEOUT = 10.0


@pytest.fixture
async def shouting() -> AsyncIterator[int]:
    """A server that answers everything it has read until its end, in capitals."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, LOOPBACK, 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def relayed(port: int) -> tuple[asyncio.Server, int]:
    listener = open_listener()
    return await serve(listener, host=LOOPBACK, port=port), int(listener.getsockname()[1])


async def test_both_directions_are_carried_and_an_end_is_passed_on(shouting: int) -> None:
    server, port = await relayed(shouting)
    async with server:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"hello " * 100_000)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), TIMEOUT) == b"HELLO " * 100_000
        writer.close()


async def test_a_connection_that_breaks_is_not_told_as_one_that_has_ended() -> None:
    """Whoever reads until the end would take half an answer for all of it."""

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    breaking = await asyncio.start_server(break_off, LOOPBACK, 0)
    server, port = await relayed(int(breaking.sockets[0].getsockname()[1]))
    async with breaking, server:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), TIMEOUT)
        writer.close()


async def test_a_connection_is_refused_as_the_other_side_refuses_it_and_the_log_tells_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    unserved = open_listener()
    far = int(unserved.getsockname()[1])
    server, port = await relayed(far)
    async with server:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), TIMEOUT)
        writer.close()
    unserved.close()
    assert f"{LOOPBACK}:{far}: [Errno 111]" in capsys.readouterr().err
