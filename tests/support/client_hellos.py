"""What a device says first, and how long the front door takes to reject who says something else."""

import socket
import ssl
import time
from contextlib import suppress

import pytest

from tests.support.front_door import FrontDoor
from tests.support.servers import PATIENCE

# Seconds, for what takes milliseconds: enough for a busy machine, and below the delay for half a ClientHello (5 s).
SOON = 4.0


def client_hello(host: str | None, *, size: int = 0) -> bytes:
    """Return the first bytes of a device; with a size, of one whose offer of protocols fills as many bytes."""
    context = ssl.create_default_context()
    if size:
        context.set_alpn_protocols(["x" * 255] * (size // 256))
    context.check_hostname = host is not None
    context.verify_mode = ssl.CERT_REQUIRED if host else ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=host).do_handshake()
    return outgoing.read()


def time_until_rejected(door: FrontDoor, *pieces: bytes) -> float:
    """Send pieces, and return the seconds from the last of them until the connection is closed without an answer."""
    began = time.monotonic()
    # It is reset when there was more to read than has been read.
    with (
        suppress(ConnectionResetError, BrokenPipeError),
        socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE) as connection,
    ):
        for piece in pieces:
            connection.sendall(piece)
            began = time.monotonic()
        assert connection.recv(1) == b""
    return time.monotonic() - began
