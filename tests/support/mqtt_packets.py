"""Packets of MQTT 5, byte by byte: for what no client or broker of good manners sends."""

import socket
import struct
from typing import Final

from hack.front_door.packets import packet as packet
from hack.front_door.packets import remaining_length as remaining_length

_NO_PROPERTIES: Final = b"\x00"


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


def _text(value: bytes) -> bytes:
    return struct.pack("!H", len(value)) + value
