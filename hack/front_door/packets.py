"""Packets of MQTT 3.1.1, byte by byte; what has no properties is the same in MQTT 5."""

from typing import Final

ACCEPTED: Final = b"\x20\x02\x00\x00"  # CONNACK to a clean session
PING, PONG = b"\xc0\x00", b"\xd0\x00"
DISCONNECT: Final = b"\xe0\x00"


def packet(header: int, body: bytes) -> bytes:
    """Return a packet of a type and flags (2.1.2, 2.1.3)."""
    return bytes([header]) + remaining_length(len(body)) + body


def connect(name: str, *, keep_alive: int) -> bytes:
    """Return CONNECT with a clean session (3.1); seconds."""
    return packet(0x10, _text(b"MQTT") + b"\x04\x02" + keep_alive.to_bytes(2, "big") + _text(name.encode()))


def subscribe(topic: bytes, *, qos: int) -> bytes:
    """Return SUBSCRIBE to one topic (3.8)."""
    return packet(0x82, b"\x00\x01" + _text(topic) + bytes([qos]))


def publish(topic: bytes, payload: bytes, *, identifier: int = 0) -> bytes:
    """Return PUBLISH (3.3), of QoS 1 if it has an identifier."""
    return packet(0x32 if identifier else 0x30, _text(topic) + _identifier(identifier) + payload)


def acknowledge(identifier: bytes) -> bytes:
    """Return PUBACK (3.4)."""
    return b"\x40\x02" + identifier


def remaining_length(size: int) -> bytes:
    """Return how MQTT writes the size of what follows (1.5.5 of version 5, 2.2.3 of 3.1.1)."""
    digits = b""
    while True:
        size, digit = divmod(size, 128)
        digits += bytes([digit | (128 if size else 0)])
        if not size:
            return digits


def _identifier(number: int) -> bytes:
    return number.to_bytes(2, "big") if number else b""


def _text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value
