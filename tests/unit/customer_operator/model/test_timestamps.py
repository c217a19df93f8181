"""Times as Kubernetes writes and reads them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from customer_operator.model.timestamps import format_time, parse_time

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOON, "2026-11-21T12:00:00Z"),
        (NOON.astimezone(timezone(timedelta(hours=5, minutes=30))), "2026-11-21T12:00:00Z"),
        (NOON + timedelta(microseconds=999_999), "2026-11-21T12:00:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (None, None),
    ],
)
def test_a_moment_is_written_in_utc_and_whole_seconds(moment: datetime | None, text: str | None) -> None:
    assert format_time(moment) == text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-21T12:00:00Z", NOON),
        ("2026-11-21T14:00:00+02:00", NOON),
        ("2026-11-21T12:00:00.25Z", NOON + timedelta(microseconds=250_000)),
        ("2026-11-21T12:00:00", NOON),
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
        ("now", None),
        ("", None),
        (None, None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
    ],
)
def test_a_timestamp_is_read_as_utc_and_anything_else_as_none(text: str | None, moment: datetime | None) -> None:
    parsed = parse_time(text)

    assert parsed == moment
    assert parsed is None or parsed.utcoffset() == timedelta(0)


def test_what_was_written_reads_back() -> None:
    assert parse_time(format_time(NOON)) == NOON
