"""A reading: one number of one device at one time, read from an MQTT message. Pure."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

#: Everything that devices send; a device may write below its own name only, by its row in mqtt_acls.
TOPICS: Final = "t/+/#"
#: The one topic filter of a device, as the broker's plugin reads it: %u is the user's name.
DEVICE_TOPICS: Final = "t/%u/#"

_LONGEST_PAYLOAD: Final = 4096
_LONGEST_NAME: Final = 128
_AHEAD: Final = timedelta(minutes=5)


class Rejected(Exception):
    """A message that is no reading; the text is one of few words, the label of a metric."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A number with its time. A device that sends the time itself may send the same reading as often as it likes."""

    device: str
    name: str
    time: datetime
    value: float


def parse(topic: str, payload: bytes, *, arrived: datetime) -> Reading:
    """Return the reading of a message ``t/<device>/<name>``: a number, or {"value": number, "time": RFC 3339}.

    Raises Rejected.
    """
    parts = topic.split("/", 2)
    if len(parts) != 3 or not parts[2] or len(parts[2]) > _LONGEST_NAME or "\0" in topic:
        raise Rejected("topic")
    body = _json(payload)
    given = body if isinstance(body, dict) else {"value": body}
    time = _time(given["time"], arrived) if "time" in given else arrived
    return Reading(device=parts[1], name=parts[2], time=time, value=_number(given.get("value")))


def _json(payload: bytes) -> Any:
    if len(payload) > _LONGEST_PAYLOAD:
        raise Rejected("payload")
    try:
        return json.loads(payload, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Rejected("payload") from None


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Rejected("payload")
    try:
        number = float(value)
    except OverflowError:
        raise Rejected("payload") from None
    if not math.isfinite(number):
        raise Rejected("payload")
    return number


def _time(value: Any, arrived: datetime) -> datetime:
    """Return a device's time in UTC; one in the future would be the latest for ever."""
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise Rejected("time")
        time = time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise Rejected("time") from None
    if time > arrived + _AHEAD:
        raise Rejected("time")
    return time


def _refuse(_constant: str) -> NoReturn:
    """NaN and Infinity are not JSON."""
    raise ValueError
