"""The application: one table of routes, and what runs beside them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reference_api import access, answers
from reference_api.answers import JsonAnswer
from reference_api.database import Database
from reference_api.devices import Devices
from reference_api.errors import InvalidRequest, Problem, Unavailable
from reference_api.gate import Gate
from reference_api.ingest import Ingest, State
from reference_api.license import Grant
from reference_api.metrics import Metrics
from reference_api.retention import keep_tidy
from reference_api.settings import Settings
from reference_api.shared import Shared

_MOST_DEVICES: Final = 200
_MOST_READINGS: Final = 1000

log = logging.getLogger(__name__)


class Api:
    """The parts, and an endpoint for each route."""

    def __init__(self, settings: Settings, grant: Grant) -> None:
        """Make all parts; nothing connects yet."""
        self._grant = grant
        self._metrics = Metrics()
        self._database = Database(settings.database_url)
        self._health = Shared(self._database.answers)
        self._devices = Devices(self._database, limit=grant.max_devices)
        self._ingest = Ingest(settings, self._database, self._metrics, messages_per_day=grant.messages_per_day)
        gate = Middleware(
            Gate,
            token=access.access_token(settings),
            database=self._database,
            metrics=self._metrics,
            requests_per_day=grant.requests_per_day,
        )
        self.app = Starlette(
            routes=[
                Route("/api/health", self.health),
                Route("/api/instance", self.instance),
                Route("/api/devices", self.list_devices, methods=["GET"]),
                Route("/api/devices", self.register_device, methods=["POST"]),
                Route("/api/devices/{name}", self.delete_device, methods=["DELETE"]),
                Route("/api/devices/{name}/readings", self.list_readings),
                Route("/metrics", self.metrics),
            ],
            middleware=[gate],
            exception_handlers={Problem: answers.on_problem, HTTPException: answers.on_http_exception},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Serve at once, and be healthy when the database is: whoever asks in the meantime is told so."""
        background = asyncio.create_task(self._run())
        yield
        background.cancel()
        with suppress(asyncio.CancelledError):
            await background
        await self.hand_over()
        await self._database.close()

    async def hand_over(self) -> None:
        """Leave the broker to the pod that follows; requests are still served."""
        await asyncio.to_thread(self._ingest.stop)

    async def _run(self) -> None:
        await self._database.prepare()
        self._ingest.start()
        await keep_tidy(self._database, days=self._grant.retention_days)

    async def health(self, _request: Request) -> Response:
        """200 when requests can be served. The broker is only told of: without it nothing is lost."""
        broker = self._ingest.state
        # Anybody may ask, and as often as they like: that must take no connection from the others.
        if not await self._health.get():
            return JsonAnswer({"status": "unavailable", "database": "away", "broker": broker}, status_code=503)
        return JsonAnswer({"status": "ok", "database": "ok", "broker": broker})

    async def metrics(self, _request: Request) -> Response:
        """For Prometheus; the number of devices is the last one known while the database is away."""
        with suppress(Unavailable):
            self._metrics.devices.set(await self._devices.count())
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def instance(self, _request: Request) -> Response:
        """What is granted, and how much of it is used."""
        return JsonAnswer(
            {
                "plan": self._grant.plan,
                "licensed": self._grant.licensed,
                "devices": await self._devices.count(),
                "maxDevices": self._grant.max_devices,
                "broker": self._ingest.state,
            }
        )

    async def list_devices(self, request: Request) -> Response:
        """A page of devices with their latest readings; `after` is the last name of the page before."""
        limit = answers.whole_number(request, "limit", default=50, most=_MOST_DEVICES)
        after = request.query_params.get("after", "")
        return JsonAnswer({"devices": await self._devices.page(after=after, limit=limit)})

    async def register_device(self, request: Request) -> Response:
        """A new device and its password, told this once."""
        name = (await answers.json_object(request)).get("name")
        if not isinstance(name, str):
            raise InvalidRequest("device-name", "name must be a text")
        if self._ingest.state is State.AWAY:
            # What the device publishes before there is a subscription would be acknowledged, and lost.
            raise Unavailable("broker", "The broker is not reached; try again shortly", headers={"Retry-After": "2"})
        login = await self._devices.register(name)
        body: dict[str, Any] = {"name": login.name, "username": login.name, "password": login.password}
        return JsonAnswer({**body, "topics": f"t/{login.name}/#"}, status_code=201)

    async def delete_device(self, request: Request) -> Response:
        """The device, its login and its readings go."""
        await self._devices.delete(request.path_params["name"])
        return Response(status_code=204)

    async def list_readings(self, request: Request) -> Response:
        """A device's readings, the latest first, and before a time if one is given."""
        limit = answers.whole_number(request, "limit", default=100, most=_MOST_READINGS)
        before = _time(request.query_params.get("before"))
        readings = await self._devices.readings(request.path_params["name"], before=before, limit=limit)
        return JsonAnswer({"readings": readings})


def _time(text: str | None) -> datetime:
    if text is None:
        return datetime.max.replace(tzinfo=UTC)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest("before", "before must be a time as in RFC 3339") from None
    if time.tzinfo is None:
        raise InvalidRequest("before", "before must have an offset, such as Z")
    return time
