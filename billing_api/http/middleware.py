"""What happens around every request: an identifier, a log line without secrets, a measurement, a few headers.

A defect ends here too, so that its answer and its traceback in the log carry the identifier like everything else.
"""

import logging
import time
from http import HTTPStatus
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from billing_api.http.problems import defect
from billing_api.metrics import Metrics

log = logging.getLogger("billing_api.access")

#: Asked every few seconds by machines; their log lines would bury the others.
_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
#: A year, of this host alone: those below it are the customers'.
_ONLY_TLS = "max-age=31536000"
#: A client can make up others, and a metric's labels must not be without number.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observe:
    """ASGI middleware. Logs the route, never the query, headers or bodies."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, tls: bool = False) -> None:
        """Wrap an application.

        Args:
            app: the application.
            metrics: where requests are measured.
            tls: whether browsers reach it by TLS; they are then told never to try without (RFC 6797).
        """
        self._app = app
        self._metrics = metrics
        self._tls = tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        status: int | None = None
        started = time.perf_counter()

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                if self._tls:
                    headers["Strict-Transport-Security"] = _ONLY_TLS
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception:
            log.exception("Request %s has met a defect", request_id, extra={"request_id": request_id})
            if status is not None:
                # Half an answer is out; the server cuts the connection, so that nobody takes it for a whole one.
                raise
            await defect(Request(scope))(scope, receive, observed)
        finally:
            self._record(
                scope,
                status=status or HTTPStatus.INTERNAL_SERVER_ERROR,
                seconds=time.perf_counter() - started,
                request_id=request_id,
            )

    def _record(self, scope: Scope, *, status: int, seconds: float, request_id: str) -> None:
        # The template, not the path: paths are without number, and a metric's labels must not be.
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in _METHODS and route != "unknown" else "unknown"
        self._metrics.request_seconds.labels(method, route, str(status)).observe(seconds)
        level = logging.DEBUG if route in _QUIET else logging.INFO
        log.log(level, "%s %s %d %.0f ms %s", method, route, status, seconds * 1000, request_id)
