"""The operator's HTTP endpoints: /livez, /readyz and /metrics."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], str | None]


class Probes:
    """A small web server beside the operator, in the same event loop: that it answers is half of being alive."""

    def __init__(self, *, host: str, port: int, registry: CollectorRegistry, live: Check, ready: Check) -> None:
        """Take the address and two checks, each of which returns None, or what is wrong."""
        self._host = host
        self._port = port
        self._registry = registry
        self._live = live
        self._ready = ready
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/livez", lambda _: answer(self._live))
        app.router.add_get("/readyz", lambda _: answer(self._ready))
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self) -> None:
        """Close the server."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def answer(check: Check) -> web.Response:
    """Return 200 when a check passes, 503 with the reason when it does not."""
    problem = check()
    return web.Response(text=problem or "ok", status=503 if problem else 200)
