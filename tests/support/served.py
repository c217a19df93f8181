"""``python -m tests.support.served``: the billing API's server around an application that behaves badly."""

import asyncio
from collections.abc import AsyncIterator

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from billing_api import logs
from billing_api.http import listening, server
from billing_api.http.stopping import Stop
from billing_api.settings import from_environment


async def _events(_request: Request) -> Response:
    """Stream without an end."""

    async def events() -> AsyncIterator[str]:
        number = 0
        while True:
            number += 1
            yield f"data: {number}\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(events(), media_type="text/event-stream")


async def _deaf(_request: Request) -> Response:
    """Never answer, whoever cancels it."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def _hello(request: Request) -> Response:
    client = request.client.host if request.client else ""
    return PlainTextResponse(f"stopping={request.state.stopping} client={client}")


def main() -> None:
    settings = from_environment()
    logs.configure(level=settings.log_level, log_format=settings.log_format)
    stop = Stop()
    stop.install()
    routes = [Route("/events", _events), Route("/deaf", _deaf), Route("/", _hello)]
    app, registry = Starlette(routes=routes), CollectorRegistry()
    with listening.bound(settings.host, settings.port) as sockets:
        server.run(app, sockets=sockets, settings=settings, registry=registry, stop=stop)


if __name__ == "__main__":
    main()
