"""The router's HTTP endpoints: /livez, /readyz and /metrics, in the same event loop: that it answers is half of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from mqtt_router.errors import ListenFailed

Check = Callable[[], str | None]  # what is wrong, None when nothing is


@asynccontextmanager
async def serving(
    host: str, port: int, *, registry: CollectorRegistry, live: Check, ready: Check
) -> AsyncIterator[int]:
    """Serve until the end of the block; give the port, a free one if it was to be 0. Raises ListenFailed."""
    app = web.Application()
    app.router.add_get("/livez", _answering(live))
    app.router.add_get("/readyz", _answering(ready))
    app.router.add_get("/metrics", _exposing(registry))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield int(runner.addresses[0][1])
    except OSError as error:
        problem = f"{host}:{port} cannot be listened on ({error.strerror or error})"
        raise ListenFailed(f"PROBE_PORT, PROBE_HOST: {problem}") from None
    finally:
        await runner.cleanup()


def _answering(check: Check) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        problem = check()
        return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)

    return answer


def _exposing(registry: CollectorRegistry) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer
