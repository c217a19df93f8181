"""The operator's HTTP endpoints: /livez, /readyz and /metrics."""

from collections.abc import Awaitable, Callable

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
        app.router.add_get("/livez", answering(self._live))
        app.router.add_get("/readyz", answering(self._ready))
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    @property
    def port(self) -> int:
        """The port it listens on: a free one if it was to be 0. RuntimeError before `start`."""
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError("the probes are not listening")
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close the server."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def answering(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler that answers 200 when a check passes, and 503 with the reason when it does not."""

    async def answer(_: web.Request) -> web.Response:
        problem = check()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    return answer
