"""MQTT 3.1.1 by hand, for thousands of connections: a client of paho has a thread, and takes its time to start."""

import socket

from tests.support.mqtt import Login
from tests.support.servers import PATIENCE

ACCEPTED, NOT_AUTHORIZED = 0, 5
_CONNECT = b"\x10"
_CLEAN, _NAME_AND_PASSWORD = 0x02, 0xC0


def connect(port: int, login: Login) -> int:
    """Connect and hang up; return the code of the broker's answer (MQTT 3.1.1, 3.2.2.3)."""
    keep_alive, client_id = bytes(2), _text("")
    header = _text("MQTT") + bytes([4, _NAME_AND_PASSWORD | _CLEAN]) + keep_alive
    content = header + client_id + _text(login.username) + _text(login.password or "")
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(_CONNECT + _length(content) + content)
        answer = connection.recv(4, socket.MSG_WAITALL)
    assert len(answer) == 4, "the broker hung up without an answer"
    return answer[3]


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2) + encoded


def _length(content: bytes) -> bytes:
    """Encode a length, seven bits in a byte (MQTT 3.1.1, 2.2.3)."""
    digits, rest = bytearray(), len(content)
    while rest > 0x7F:
        digits.append(rest & 0x7F | 0x80)
        rest >>= 7
    digits.append(rest)
    return bytes(digits)
