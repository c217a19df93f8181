"""A thousand devices that are connected and idle: they ping, and notice when they are cut off."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from hack.bench.mqtt.stage import Stage, host_of
from hack.front_door import Device
from hack.front_door.device import sources

_AT_ONCE = 50
_NETWORK = 200


class Fleet:
    """Connected devices, from `async with` to its end."""

    def __init__(self, stage: Stage, *, instances: Sequence[str], count: int, ping_interval: float) -> None:
        """Take whose devices they are, by turns, and how many; each pings once in so many seconds."""
        self._stage, self._instances, self._count, self._interval = stage, instances, count, ping_interval
        self._devices: list[Device] = []
        self._pinging: list[asyncio.Task[None]] = []
        self.dropped = 0

    async def __aenter__(self) -> Self:
        context, room, addresses = self._stage.authority.context(), asyncio.Semaphore(_AT_ONCE), sources(_NETWORK)

        async def one(number: int) -> Device:
            host = host_of(self._instances[number % len(self._instances)])
            async with room:
                return await Device.connect(self._stage.door.port, host=host, context=context, source=next(addresses))

        self._devices = list(await asyncio.gather(*map(one, range(self._count))))
        self._pinging = [
            asyncio.create_task(self._keep(device, first=self._interval * number / self._count))
            for number, device in enumerate(self._devices)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._pinging:
            task.cancel()
        for device in self._devices:
            with suppress(OSError):
                await device.close()

    async def take_roll(self) -> int:
        """Have all who are left ping at once; return how many have been cut off so far."""
        for task in self._pinging:
            task.cancel()
        await asyncio.gather(*self._pinging, return_exceptions=True)
        await asyncio.gather(*map(self._ping, list(self._devices)))
        return self.dropped

    async def _keep(self, device: Device, *, first: float) -> None:
        delay = first
        while True:
            await asyncio.sleep(delay)
            if not await self._ping(device):
                return
            delay = self._interval

    async def _ping(self, device: Device) -> bool:
        try:
            await device.ping()
        except (OSError, ssl.SSLError, TimeoutError):
            self.dropped += 1
            self._devices.remove(device)
            return False
        return True
