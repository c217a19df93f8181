"""Makes HAProxy's map, and its file, hold the routes there should be: after every change, and again and again.

The file comes first: whenever HAProxy starts, it begins with the newest routes.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from mqtt_router import mapping
from mqtt_router.answers import Process
from mqtt_router.errors import HaproxyRefused, HaproxyUnavailable, MapFileFailed
from mqtt_router.mapfile import MapFile
from mqtt_router.mapping import MOST_SINGLE, Map
from mqtt_router.metrics import Metrics, Problem
from mqtt_router.runtime import Runtime
from mqtt_router.table import RouteTable

log = logging.getLogger(__name__)

_UNSEEN: Final = 1024  # changes whose lag is shown at most, when HAProxy has been away
_STUCK: Final = 60.0  # seconds; a turn in which nothing answers ends before


class Feeder:
    """Follows a table of routes; `changed` has it look at once."""

    def __init__(
        self,
        table: RouteTable,
        *,
        runtime: Runtime,
        map_file: MapFile,
        metrics: Metrics,
        check_interval: float,
        compare_interval: float,
    ) -> None:
        """Take the table and where its routes go; the intervals are seconds.

        HAProxy is asked whether it is still the same process in each check, and the map is read whole in each compare.
        """
        self.changed = asyncio.Event()
        self._table = table
        self._runtime = runtime
        self._map_file = map_file
        self._metrics = metrics
        self._check_interval = check_interval
        self._compare_interval = compare_interval
        self._known = False
        self._process: Process | None = None
        self._live: Map | None = None  # None: not known
        self._compared_at = 0.0
        self._written: str | None = None
        self._unseen: deque[datetime] = deque(maxlen=_UNSEEN)
        self._problems: dict[Problem, str] = {"haproxy": "HAProxy has not been asked yet"}
        self._turned_at = time.monotonic()

    def restore(self) -> None:
        """Begin with what the file has kept; make an empty one where there is none, for HAProxy would not start."""
        try:
            text = self._map_file.read()
            if text is None:
                self._map_file.write("")
        except MapFileFailed as error:
            self._fail("file", error)
            return
        kept = mapping.parse(text or "")
        self._table.restore(kept)
        if kept:
            log.info("starting with %d routes of %s", len(kept), self._map_file.path)
            self.known()

    def known(self) -> None:
        """Take note that the table holds what there is: until then HAProxy's map is left alone."""
        self._known = True
        self.changed.set()

    def unready(self) -> str | None:
        """Return why no device should be sent to this HAProxy, None when nothing speaks against it."""
        if not self._known:
            return "the routes are not known: neither the API server nor MAP_FILE has told any yet"
        if untold := self._table.untold():
            return f"not all routes are known: there is no ConfigMap {', '.join(untold)}"
        return self._problems.get("haproxy")

    def stuck(self) -> str | None:
        """Return why the process should be restarted, None when it need not be."""
        return "the map has not been looked at for too long" if time.monotonic() - self._turned_at > _STUCK else None

    async def run(self) -> None:
        """Feed until cancelled."""
        while True:
            self.changed.clear()
            if self._known:
                await self._turn()
            self._turned_at = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._check_interval):
                    await self.changed.wait()

    async def _turn(self) -> None:
        wanted = mapping.values_of(self._table.routes)
        self._unseen.extend(self._table.changes_seen())
        # One that fails does not keep the other from being done.
        await self._attempt("file", self._keep(wanted))
        if await self._attempt("haproxy", self._feed(wanted)):
            self._show_lag()

    async def _keep(self, wanted: Map) -> None:
        # Whoever starts with the file takes it for all there is.
        if not self._table.untold() and (text := mapping.render(wanted)) != self._written:
            await asyncio.to_thread(self._map_file.write, text)
            self._written = text

    async def _feed(self, wanted: Map) -> None:
        live = await self._look()
        if live != wanted:
            await self._change(live, wanted)
            self._live = await self._read_back(wanted)
        self._metrics.live(len(wanted))

    async def _look(self) -> Map | None:
        """Return the map as it is; None when it holds what only a load of the whole can cure."""
        process = await self._runtime.process()
        if process != self._process:
            self._metrics.resync("start" if self._process is None else "restart")
            log.info("HAProxy's process is %d", process.pid)
            self._process, self._live = process, None
        elif self._live is None:
            self._metrics.resync("failure")
        if self._live is None or time.monotonic() - self._compared_at >= self._compare_interval:
            self._live = await self._compare()
        return self._live

    async def _compare(self) -> Map | None:
        self._compared_at = time.monotonic()
        try:
            found = await self._runtime.entries()
        except HaproxyRefused as error:
            log.warning("the map cannot be understood, and is loaded anew: %s", error)
            return None
        if self._live is not None and found != self._live:
            log.warning("somebody else has changed the map; it is put right")
            self._metrics.mismatch()
        return found

    async def _change(self, live: Map | None, wanted: Map) -> None:
        difference = None if live is None else mapping.diff(live, wanted)
        self._live = None  # until it has been read back
        if difference is None or len(difference) > MOST_SINGLE:
            await self._load(wanted)
        else:
            await self._runtime.change(difference)
            self._metrics.changed(len(difference))

    async def _load(self, wanted: Map) -> None:
        await self._runtime.load(wanted)
        self._metrics.loaded()

    async def _read_back(self, wanted: Map) -> Map:
        """Return the map once it is the wanted one; raises HaproxyRefused when not even a load makes it so."""
        if await self._runtime.entries() != wanted:
            self._metrics.mismatch()
            await self._load(wanted)
            if await self._runtime.entries() != wanted:
                raise HaproxyRefused("HAProxy's map does not hold what was loaded into it")
        return wanted

    async def _attempt(self, what: Problem, work: Awaitable[None]) -> bool:
        try:
            await work
        except (HaproxyUnavailable, MapFileFailed) as error:
            self._fail(what, error)
            return False
        if self._problems.pop(what, None) is not None:
            log.info("%s: in order", what)
        return True

    def _fail(self, what: Problem, error: Exception) -> None:
        if what == "haproxy":
            self._live = None
        if self._problems.get(what) != str(error):
            log.warning("%s", error)
        self._problems[what] = str(error)
        self._metrics.failed(what)

    def _show_lag(self) -> None:
        now = datetime.now(UTC)
        for published in self._unseen:
            self._metrics.late((now - published).total_seconds())
        self._unseen.clear()
