"""A device that publishes all the time, so that whatever happens to its customer's stack happens while it does."""

import threading
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Self

from tests.support.devices import PATIENCE, Device, connected
from tests.support.platform import Customer
from tests.support.waiting import wait_until

_PAUSE = 0.05  # seconds between two readings, unless the broker's answer takes longer
_INTERVAL = 0.5  # seconds from one look into the database to the next
_MOMENT = 20  # readings


class SteadyDevice(Device):
    """Publishes from `with` to its end; what it trusts, it has learned at the beginning."""

    def __init__(self, name: str, *, customer: Customer, **options: Any) -> None:
        """Take whose it is, and what Device takes."""
        super().__init__(name, **options)
        self._customer = customer
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"device {name}", daemon=True)

    def __enter__(self) -> Self:
        super().__enter__()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()
        super().__exit__(*error)

    def stored(self) -> set[int]:
        """Return the numbers that are in the database."""
        values = self._customer.sql(f"SELECT value::integer FROM readings WHERE device = '{self._name}'")
        return set(map(int, values.split()))

    def go_on(self, readings: int = _MOMENT) -> None:
        """Wait until so many more readings have been acknowledged."""
        enough = len(self.acknowledged) + readings
        wait_until(lambda: len(self.acknowledged) >= enough, timeout=PATIENCE)

    def lost(self) -> set[int]:
        """Go on for a moment; return what has been acknowledged by then and is not in the database in the end."""
        self.go_on()
        expected = set(self.acknowledged)
        try:
            wait_until(lambda: expected <= self.stored(), timeout=PATIENCE, interval=_INTERVAL)
        except TimeoutError:
            return expected - self.stored()
        return set()

    def _run(self) -> None:
        while not self._stopping.wait(_PAUSE):
            self._publish()


def publishing(customer: Customer, name: str) -> AbstractContextManager[SteadyDevice]:
    """Register a device, and have it publish for as long as the block lasts."""
    return connected(customer, name, make=partial(SteadyDevice, customer=customer))
