"""Connects to the broker again and again, in a thread of its own, and tells in the log what has changed."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from exporters.mqtt.connection import Connection
from exporters.mqtt.errors import BrokerUnavailable
from exporters.mqtt.settings import Settings
from exporters.mqtt.statistics import Statistics
from exporters.mqtt.topics import SUBSCRIPTION

log = logging.getLogger(__name__)

_FIRST_DELAY: Final = 1.0  # seconds
# Mosquitto before 2.0.16 forgets values that have not changed for 60 s, those of its start included: by then we are in.
_LONGEST_DELAY: Final = 15.0
# Seconds without a round after which something hangs; looking up a name can take a minute.
_HANGS_AFTER: Final = 300.0
_STOP_PATIENCE: Final = 5.0  # seconds


class Subscriber:
    """Keeps a connection for as long as the process lives."""

    def __init__(
        self, settings: Settings, *, statistics: Statistics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the statistics to fill, and the clock (seconds) by which a hanging thread is noticed."""
        self._settings = settings
        self._statistics = statistics
        self._clock = clock
        self._round_at = clock()
        self._ready_at: float | None = None
        self._expecting = False
        self._told = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="subscriber", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye to the broker; returns when that is done, or cannot be done within a few seconds."""
        self._stopping.set()
        self._thread.join(_STOP_PATIENCE)

    def problem(self) -> str:
        """Return why the process should be restarted, empty when it need not. A broker that is away is no reason."""
        silent = self._clock() - self._round_at
        return f"the connection to the broker hangs since {silent:.0f} s" if silent > _HANGS_AFTER else ""

    def _run(self) -> None:
        delay = _FIRST_DELAY
        while not self._stopping.is_set():
            self._connect()
            # One that ends soon, again and again, must not fill the log.
            if self._ready_at is not None and self._clock() - self._ready_at > _LONGEST_DELAY:
                delay = _FIRST_DELAY
            self._stopping.wait(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    def _connect(self) -> None:
        self._ready_at, self._expecting = None, False
        self._on_round()
        try:
            connection = Connection(self._settings, statistics=self._statistics, on_ready=self._on_ready)
            connection.run(stopping=self._stopping.is_set, on_round=self._on_round)
        except BrokerUnavailable as error:
            self._tell(str(error))
        except Exception:
            # Whatever a broken broker sends: the next connection may be better, and nothing else would try it.
            log.exception("the connection to %s has ended by a defect", self._settings.broker)

    def _on_round(self) -> None:
        self._round_at = self._clock()
        if self._expecting and self._ready_at is not None:
            self._expect_statistics(self._round_at - self._ready_at)

    def _expect_statistics(self, waited: float) -> None:
        """Tell why there may be none, once; retained ones come at once, others at the broker's next interval."""
        if self._statistics.snapshot().up:
            self._expecting = False
        elif waited > 2 * self._settings.keepalive:
            self._expecting = False
            cure = f"give the user the right to read {SUBSCRIPTION}, and sys_interval a value above 0"
            log.warning("no statistics from %s for %.0f s; %s", self._settings.broker, waited, cure)

    def _on_ready(self) -> None:
        self._statistics.connected()
        self._ready_at, self._expecting = self._clock(), True
        self._told = ""
        log.info("connected to %s", self._settings.broker)

    def _tell(self, reason: str) -> None:
        """Log a reason once, not again for each try that fails for the same."""
        if reason != self._told:
            log.warning("no connection to %s: %s; trying again until there is one", self._settings.broker, reason)
        self._told = reason
