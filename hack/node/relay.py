"""Carries TCP connections from 127.0.0.1 into a node's network: listens outside, connects inside.

A socket stays in the network in which it was opened, so a process opens its listeners first and enters the node's
network afterwards. `python -m hack.node.relay HOLDER HOST PORT` is such a process for one address of the node; it
writes its own port, and ends with its standard input.
"""

import asyncio
import socket
import struct
import sys
from contextlib import suppress
from datetime import UTC, datetime

from hack.node.addresses import LOOPBACK
from hack.node.namespaces import enter_network

CHUNK = 1 << 16


def open_listener() -> socket.socket:
    """Return a socket bound to a free port of 127.0.0.1; nobody can connect before it is served."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((LOOPBACK, 0))
    return listener


def port_of(listener: socket.socket) -> int:
    """Return the port that a listener has been given."""
    return int(listener.getsockname()[1])


async def serve(listener: socket.socket, *, host: str, port: int) -> asyncio.Server:
    """Carry every connection to `listener` on to `host`:`port`, until the server that is returned is closed."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # At the relay's own end; asyncio would take a connection that is cancelled for a defect, and write it down.
        with suppress(asyncio.CancelledError):
            try:
                there_reader, there_writer = await asyncio.open_connection(host, port)
            except OSError as error:
                # For whoever looks why somebody was turned away (of a node, in keeper.log).
                print(f"{datetime.now(UTC):%H:%M:%S.%f} {host}:{port}: {error}", file=sys.stderr, flush=True)
                _reset(writer)
                return
            try:
                await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))
            finally:
                for one in (writer, there_writer):
                    one.close()

    return await asyncio.start_server(carry, sock=listener)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side ends, and tell the other."""
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        return
    _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection off, as the node has: whoever reads from it is told so, and not just of an end."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def main() -> None:
    """Serve one address until the end of the standard input."""
    holder, host, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    listener = open_listener()
    enter_network(holder)
    asyncio.run(_until_told(listener, host, port))


async def _until_told(listener: socket.socket, host: str, port: int) -> None:
    server = await serve(listener, host=host, port=port)
    print(port_of(listener), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    main()
