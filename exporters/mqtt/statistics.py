"""What the broker has told on the present connection, and what the exporter knows of that connection.

Mosquitto repeats a value only when it has changed, so a value holds for as long as the connection does, and no longer:
when the connection ends everything is forgotten. A broker that was restarted counts from zero, and its counters are
shown as they are: `rate` and `increase` of Prometheus understand a counter that begins anew, and it stays equal to what
the broker itself says.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from exporters.mqtt import parser
from exporters.mqtt.parser import Ignored, Reading, Value

# Topics outside the table that are kept. Clients can publish one per name they think of, $SYS/broker/connection/+/state
# (acl__check_dollar in Mosquitto's src/security.c), so they must not be able to fill the memory.
MOST_OTHER_TOPICS: Final = 100

# In place of a text that has changed: an info metric does not, and each new text would be a new time series.
_WITHHELD: Final = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything at one moment, readings by their topics; `up` says that the broker is connected and tells some."""

    up: bool
    known: Mapping[str, Value]
    others: Mapping[str, Value]
    age: float | None  # seconds since the last statistic that was not retained, or else since the first connection
    reconnects: int
    messages: int
    ignored: Mapping[Ignored, int]


class Statistics:
    """Filled by the thread that speaks to the broker, read by those that serve the metrics."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the clock (seconds) by which the age of the last reading is told."""
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Value] = {}
        self._others: dict[str, Value | None] = {}
        self._connections = 0
        self._messages = 0
        self._ignored: Counter[Ignored] = Counter()
        self._last: float | None = None

    def connected(self) -> None:
        """Note a new connection that has been subscribed on; its first messages may have come before the word of it."""
        with self._lock:
            self._connections += 1
            self._last = self._clock() if self._last is None else self._last

    def disconnected(self) -> None:
        """Forget what the broker has told. Any number of times is as good as once."""
        with self._lock:
            self._known.clear()
            self._others.clear()

    def take(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Take in one message; one that says nothing changes nothing but its own count.

        `retained` says that it was there already when the broker was asked, and so does not show that it is alive.
        """
        parsed = parser.parse(topic, payload)
        with self._lock:
            self._messages += 1
            refused = parsed if isinstance(parsed, Ignored) else self._keep(parsed, retained=retained)
            if refused:
                self._ignored[refused] += 1

    def refuse(self) -> None:
        """Take in a message whose topic is no text."""
        with self._lock:
            self._messages += 1
            self._ignored[Ignored.MALFORMED] += 1

    def snapshot(self) -> Snapshot:
        """Return everything as it is now."""
        with self._lock:
            return Snapshot(
                up=bool(self._known),
                known=dict(self._known),
                others={topic: value for topic, value in self._others.items() if value is not _WITHHELD},
                age=None if self._last is None else self._clock() - self._last,
                reconnects=max(0, self._connections - 1),
                messages=self._messages,
                ignored=dict(self._ignored),
            )

    def _keep(self, reading: Reading, *, retained: bool) -> Ignored | None:
        if reading.statistic:
            self._known[reading.topic] = reading.value
            self._last = self._last if retained else self._clock()
            return None
        if reading.topic not in self._others:
            if len(self._others) >= MOST_OTHER_TOPICS:
                return Ignored.TOO_MANY_TOPICS
            self._others[reading.topic] = reading.value
            return None
        return self._replace(reading.topic, reading.value)

    def _replace(self, topic: str, value: Value) -> Ignored | None:
        held = self._others[topic]
        if isinstance(held, float) and isinstance(value, float):
            self._others[topic] = value
        elif held != value:
            self._others[topic] = _WITHHELD
            return Ignored.CHANGING_TEXT
        return None
