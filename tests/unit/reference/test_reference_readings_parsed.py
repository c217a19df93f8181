"""What a message must be to become a reading."""

from datetime import UTC, datetime

import pytest

from reference_api.readings import Reading, Rejected, parse

ARRIVED = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("topic", "payload", "expected"),
    [
        ("t/meter/x", b"21.5", ("meter", "x", ARRIVED, 21.5)),
        ("t/meter/room/1/x", b"-3", ("meter", "room/1/x", ARRIVED, -3.0)),
        ("t/meter/x", b'{"value": 1e3}', ("meter", "x", ARRIVED, 1000.0)),
        (
            "t/meter/x",
            b'{"value": 1, "time": "2026-11-27T10:30:00+02:00", "unit": "C"}',
            ("meter", "x", datetime(2026, 11, 27, 8, 30, tzinfo=UTC), 1.0),
        ),
        # Within what clocks may differ.
        (
            "t/meter/x",
            b'{"value": 1, "time": "2026-11-27T09:04:59Z"}',
            ("meter", "x", datetime(2026, 11, 27, 9, 4, 59, tzinfo=UTC), 1.0),
        ),
    ],
)
def test_a_number_is_a_reading(topic: str, payload: bytes, expected: tuple[str, str, datetime, float]) -> None:
    assert parse(topic, payload, arrived=ARRIVED) == Reading(*expected)


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        ("t/meter", b"1", "topic"),
        ("t/meter/", b"1", "topic"),
        (f"t/meter/{'x' * 129}", b"1", "topic"),
        ("t/meter/x\0", b"1", "topic"),
        ("t/meter/x", b"", "payload"),
        ("t/meter/x", b"warm", "payload"),
        ("t/meter/x", b'"21.5"', "payload"),
        ("t/meter/x", b"true", "payload"),
        ("t/meter/x", b"null", "payload"),
        ("t/meter/x", b"[1]", "payload"),
        ("t/meter/x", b"{}", "payload"),
        ("t/meter/x", b"NaN", "payload"),
        ("t/meter/x", b"-Infinity", "payload"),
        ("t/meter/x", b"1e999", "payload"),
        ("t/meter/x", b"9" * 400, "payload"),
        ("t/meter/x", b"9" * 4097, "payload"),
        ("t/meter/x", b"[" * 4000, "payload"),
        ("t/meter/x", b"\xff\xfe\xfd", "payload"),
        ("t/meter/x", b'{"value": 1, "time": "2026-11-27T09:00:00"}', "time"),
        ("t/meter/x", b'{"value": 1, "time": "yesterday"}', "time"),
        ("t/meter/x", b'{"value": 1, "time": 1790000000}', "time"),
        ("t/meter/x", b'{"value": 1, "time": null}', "time"),
        ("t/meter/x", b'{"value": 1, "time": "0001-01-01T00:00:00+23:00"}', "time"),
        ("t/meter/x", b'{"value": 1, "time": "2026-11-27T09:05:01Z"}', "time"),
    ],
)
def test_anything_else_is_rejected_with_the_reason(topic: str, payload: bytes, reason: str) -> None:
    with pytest.raises(Rejected, match=f"^{reason}$"):
        parse(topic, payload, arrived=ARRIVED)
