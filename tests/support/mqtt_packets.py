"""Packets of MQTT 5, byte by byte: for what no client or broker of good manners sends."""

import socket
import struct
from typing import Final

_NO_PROPERTIES: Final = b"\x00"


def packet(header: int, body: bytes) -> bytes:
    """Return a packet of a type and flags (2.1.2, 2.1.3)."""
    return bytes([header]) + remaining_length(len(body)) + body


def publish(topic: bytes, payload: bytes) -> bytes:
    """Return a message of QoS 0."""
    return packet(0x30, _text(topic) + _NO_PROPERTIES + payload)


def connect(port: int) -> socket.socket:
    """Return a connection to a broker on 127.0.0.1 that has let us in without a login."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(packet(0x10, _text(b"MQTT") + b"\x05\x02\x00\x00" + _NO_PROPERTIES + _text(b"flood")))
    answer = connection.recv(4)
    assert answer[0] == 0x20
    assert answer[3] == 0
    return connection


def remaining_length(size: int) -> bytes:
    """Return how MQTT writes the size of what follows (1.5.5)."""
    digits = b""
    while True:
        size, digit = divmod(size, 128)
        digits += bytes([digit | (128 if size else 0)])
        if not size:
            return digits


def _text(value: bytes) -> bytes:
    return struct.pack("!H", len(value)) + value
