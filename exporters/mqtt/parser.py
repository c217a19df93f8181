"""From topic and payload to a reading; pure, total, and of bounded size whatever comes in."""

import re
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from typing import Final, TypeAlias

from exporters.mqtt import topics
from exporters.mqtt.topics import Kind, Statistic

# Far above anything Mosquitto publishes. What is longer is no statistic, and no label either.
LONGEST_TOPIC: Final = 200  # characters
LONGEST_PAYLOAD: Final = 200  # bytes

# Stricter than float(), which takes "1_000", "nan", "infinity" and digits of any script.
_NUMBER: Final = re.compile(rb"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
# What Mosquitto writes around the number of the uptime, and around that of the version.
_BEHIND_UPTIME: Final = b" seconds"
_BEFORE_VERSION: Final = "mosquitto version "


class Ignored(Enum):
    """Why a message says nothing; the values are those of the label `reason`."""

    FOREIGN_TOPIC = "foreign_topic"
    ALIAS = "alias"
    LOG = "log"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    CHANGING_TEXT = "changing_text"
    TOO_MANY_TOPICS = "too_many_topics"


Value: TypeAlias = float | str  # a finite number, or a text that can be printed


@dataclass(frozen=True, slots=True)
class Reading:
    """What one topic says. Without a statistic it is a topic that the table does not have."""

    topic: str
    value: Value
    statistic: Statistic | None = None


Parsed: TypeAlias = Reading | Ignored


def parse(topic: str, payload: bytes) -> Parsed:
    """Return the reading of a message, or why there is none. Raises nothing."""
    if len(payload) > LONGEST_PAYLOAD or len(topic) > LONGEST_TOPIC:
        return Ignored.TOO_LARGE
    if statistic := topics.BY_TOPIC.get(topic):
        return _known(statistic, payload)
    if topic in topics.ALIASES:
        return Ignored.ALIAS
    if topic.startswith(topics.LOGS):
        return Ignored.LOG
    return _unknown(topic, payload) if topic.startswith(topics.ROOT) else Ignored.FOREIGN_TOPIC


def _known(statistic: Statistic, payload: bytes) -> Parsed:
    value: Value | None
    if statistic.kind is Kind.INFO:
        value = _text(payload, before=_BEFORE_VERSION)
    else:
        value = _number(payload, behind=_BEHIND_UPTIME if statistic.unit == "seconds" else b"")
    if value is None or (statistic.kind is Kind.COUNTER and isinstance(value, float) and value < 0):
        return Ignored.MALFORMED
    return Reading(topic=statistic.topic, value=value, statistic=statistic)


def _unknown(topic: str, payload: bytes) -> Parsed:
    value: Value | None = _number(payload)
    if value is None:
        value = _text(payload)
    # What float() takes and we do not is a number gone wrong (NaN, infinity), and no text.
    if value is None or not topic.isprintable() or (isinstance(value, str) and _is_float(value)):
        return Ignored.MALFORMED
    return Reading(topic=topic, value=value)


def _number(payload: bytes, *, behind: bytes = b"") -> float | None:
    digits = payload.removesuffix(behind)
    if not _NUMBER.fullmatch(digits):
        return None
    value = float(digits)
    return value if isfinite(value) else None


def _text(payload: bytes, *, before: str = "") -> str | None:
    try:
        text = payload.decode().removeprefix(before)
    except UnicodeDecodeError:
        return None
    return text if text and text.isprintable() else None


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
