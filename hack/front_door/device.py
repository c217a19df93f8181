"""A device as the front door sees it: TLS by SNI, MQTT 3.1.1 within; one that stays, and one that only looks in."""

import asyncio
import itertools
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from hack.front_door import packets
from hack.servers import PATIENCE

_KEEP_ALIVE: Final = 600  # seconds


@dataclass(frozen=True)
class Entrance:
    """Where devices come in, and by which host; the host's certificate is verified."""

    address: str
    port: int
    host: str


def sources(network: int) -> Iterator[str]:
    """Return addresses of 127.<network>.0.0/16 in turn, without an end, for any thread: devices come from many places.

    So they stay below what the front door takes from one address.
    """

    def address(number: int) -> str:
        return f"127.{network}.{number >> 8}.{number & 255}"

    # A generator would refuse two threads at once.
    return map(address, itertools.cycle(range(1, 0xFFFF)))


class Device:
    """One device that has been let in by a broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(
        cls, port: int, *, host: str, context: ssl.SSLContext, name: str = "", source: str = "127.0.0.1"
    ) -> Self:
        """Connect to 127.0.0.1 for a host whose certificate is verified; ConnectionError or SSLError if it fails."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname=host, local_addr=(source, 0)
            )
            device = cls(reader, writer)
            await device._ask(packets.connect(name, keep_alive=_KEEP_ALIVE), answer=packets.ACCEPTED)
        return device

    async def ping(self) -> None:
        """Have the broker answer; ConnectionError when the connection has ended."""
        async with asyncio.timeout(PATIENCE):
            await self._ask(packets.PING, answer=packets.PONG)

    async def _ask(self, packet: bytes, *, answer: bytes) -> None:
        self._writer.write(packet)
        try:
            found = await self._reader.readexactly(len(answer))
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("the broker hung up") from error
        if found != answer:
            raise ConnectionAbortedError(f"the broker answers {found!r}")

    async def ended(self) -> None:
        """Wait until the other side has closed the connection, and close it as well."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionError, ssl.SSLError):
                if rest := await self._reader.read(1):
                    raise ConnectionAbortedError(f"the broker goes on with {rest!r}")
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self._writer.wait_closed()


def open_session(entrance: Entrance, *, context: ssl.SSLContext, source: str) -> ssl.SSLSocket:
    """Return a connection that a broker has let in; ConnectionError or SSLError, both OSError, if it fails."""
    connection = socket.create_connection(
        (entrance.address, entrance.port), timeout=PATIENCE, source_address=(source, 0)
    )
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = context.wrap_socket(connection, server_hostname=entrance.host)
    except BaseException:
        connection.close()
        raise
    try:
        session.sendall(packets.connect("", keep_alive=_KEEP_ALIVE))
        if (answer := session.recv(len(packets.ACCEPTED))) != packets.ACCEPTED:
            raise ConnectionResetError(f"the broker answers {answer!r}")
    except BaseException:
        session.close()
        raise
    return session


def leave(session: ssl.SSLSocket) -> None:
    """End a session as a device of good manners does, and wait until the broker has closed it."""
    with session, suppress(OSError):
        session.sendall(packets.DISCONNECT)
        session.recv(1)
