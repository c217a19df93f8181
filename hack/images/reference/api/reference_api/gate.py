"""What every request passes: it is counted, must show the access token unless its path is open, and uses up the day."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_api import access, usage
from reference_api.answers import ProblemAnswer
from reference_api.database import Database
from reference_api.errors import Problem, TooManyRequests
from reference_api.metrics import Metrics

#: For the kubelet and for Prometheus, which know no token.
OPEN_PATHS: Final = frozenset({"/api/health", "/metrics"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "DELETE"})


class Gate:
    """ASGI middleware; `requests_per_day` is None without limit."""

    def __init__(
        self, app: ASGIApp, *, token: str, database: Database, metrics: Metrics, requests_per_day: int | None
    ) -> None:
        self._app = app
        self._token = token
        self._database = database
        self._metrics = metrics
        self._requests_per_day = requests_per_day

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500
        is_unread = not {"content-length", "transfer-encoding"}.isdisjoint(Headers(scope=scope))

        async def read() -> Message:
            nonlocal is_unread
            message = await receive()
            is_unread = is_unread and message.get("more_body", False)
            return message

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if is_unread:  # the connection would wait for the end of the body, which may never come
                    MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        try:
            await self._admit(Request(scope))
            await self._app(scope, read, watch)
        except Problem as problem:
            await ProblemAnswer(problem)(scope, read, watch)
        finally:
            self._count(scope, status, seconds=time.monotonic() - began)

    async def _admit(self, request: Request) -> None:
        """Return when the request may go on. Raises Unauthorized, TooManyRequests, Unavailable."""
        if request.scope["path"] in OPEN_PATHS:
            return
        access.require(request.headers.get("Authorization", ""), self._token)
        if self._requests_per_day is None:
            return
        async with self._database.transaction() as connection:
            row = await (await connection.execute(usage.ADD, [usage.REQUESTS, 1])).fetchone()
        if row and not usage.within(self._requests_per_day, added=1, total=row[0]):
            raise TooManyRequests(
                "request-limit",
                f"The license allows {self._requests_per_day} requests a day (apiRequestsPerDay)",
                headers={"Retry-After": str(_seconds_until_tomorrow())},
            )

    def _count(self, scope: Scope, status: int, *, seconds: float) -> None:
        # By what answers, never by the path: that is anybody's choice, and each would be a time series of its own.
        endpoint = getattr(scope.get("endpoint"), "__name__", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, endpoint, str(status)).inc()
        self._metrics.seconds.observe(seconds)


def _seconds_until_tomorrow() -> int:
    now = datetime.now(UTC)
    tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return int((tomorrow - now).total_seconds()) + 1
