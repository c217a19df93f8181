"""HAProxy's runtime socket: the only module that talks to HAProxy."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mqtt_router import answers, mapping
from mqtt_router.answers import Process
from mqtt_router.errors import HaproxyUnavailable
from mqtt_router.mapping import Difference, Map

_PATIENCE: Final = 10.0  # seconds for one answer


class Runtime:
    """The map of a running HAProxy.

    Every method raises HaproxyUnavailable; HaproxyRefused when HAProxy does not do what it is told.
    """

    def __init__(self, socket: Path, *, map_file: Path) -> None:
        """Take the socket, and the map's file, which is the map's name."""
        self._socket = socket
        self._map = map_file

    async def process(self) -> Process:
        """Return which run of HAProxy listens."""
        return answers.process(await self._ask("show info"))

    async def entries(self) -> dict[str, str]:
        """Return the map as it is."""
        return answers.entries(await self._ask(f"show map {self._map}"))

    async def change(self, difference: Difference) -> None:
        """Make the changes one by one; each is in force at once, and no other entry is touched."""
        for host in difference.deleted:
            await self._tell(f"del map {self._map} {host}")
        for host, value in difference.changed.items():
            await self._tell(f"set map {self._map} {host} {value}")
        for host, value in difference.added.items():
            await self._tell(f"add map {self._map} {host} {value}")

    async def load(self, entries: Map) -> None:
        """Replace the whole map at one moment: until then, and if anything goes wrong, the old one serves."""
        version = answers.version(await self._ask(f"prepare map {self._map}"))
        for lines in mapping.chunks(entries):
            await self._tell(f"add map @{version} {self._map} <<\n{lines}")
        await self._tell(f"commit map @{version} {self._map}")

    async def _tell(self, command: str) -> None:
        first = command.partition("\n")[0]
        answers.done(first, await self._ask(command))

    async def _ask(self, command: str) -> str:
        """Send one command, and return the whole answer: HAProxy closes a connection that is not interactive."""
        with self._understood():
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(f"{command}\n".encode("ascii"))
                    return (await reader.read()).decode("ascii", "replace")
                finally:
                    writer.close()

    @contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise HaproxyUnavailable(f"HAProxy at {self._socket} does not answer within {_PATIENCE:g} s") from error
        except OSError as error:
            raise HaproxyUnavailable(f"HAProxy at {self._socket}: {error.strerror or error}") from error
