"""A server that keeps one Lease, with the optimistic locking of the real one, and fails in every way asked of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration
from prometheus_client import CollectorRegistry

from customer_operator.kube.client import KubeClient
from customer_operator.kube.fence import Fence
from customer_operator.kube.leader import LEASE_NAME
from customer_operator.kube.lease import LeaseLock
from customer_operator.metrics import Metrics

NAMESPACE = "iotistic-system"
PATH = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"


DURATION = 15  # seconds; what a lock claims the Lease for
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    """Seconds that pass when a test says so, and the time of day, which may stand or jump."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.time_of_day = NOON

    def __call__(self) -> float:
        return self.seconds


Locks = Callable[..., LeaseLock]


class Trouble(Enum):
    """What may happen to a request."""

    HANGS = auto()  # taken, without effect, and never answered
    ANSWER_LOST = auto()  # done, and never answered
    RESET = auto()  # the connection breaks, without effect
    CONFLICT = auto()  # somebody else was faster
    UNAVAILABLE = auto()


class LeaseServer:
    """Answers GET, POST and PUT of one Lease; 404 before it exists, 409 for a write that is not up to date."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.requests: list[tuple[str, str]] = []  # who, and with which method
        self.troubles: dict[tuple[str, str], Trouble] = {}
        self.changed = asyncio.Condition()
        self.host = ""
        self._versions = 0

    @property
    def holder(self) -> str | None:
        """Return who holds the Lease."""
        holder: str | None = (self.lease or {}).get("spec", {}).get("holderIdentity")
        return holder

    @property
    def version(self) -> str | None:
        """Return the resourceVersion of the Lease."""
        return self.lease["metadata"]["resourceVersion"] if self.lease else None

    def install(self) -> None:
        """Create the Lease as the manifests do, held by nobody."""
        self._store({"metadata": {"name": LEASE_NAME}})

    def hold(self, holder: str | None, *, duration: int = 15, stamp: str = "2026-11-21T12:00:00.000001Z") -> None:
        """Write the Lease as another replica would."""
        spec = {"holderIdentity": holder, "leaseDurationSeconds": duration, "renewTime": stamp, "acquireTime": stamp}
        metadata = dict(self.lease["metadata"]) if self.lease else {"name": LEASE_NAME}
        self._store({"metadata": metadata, "spec": spec})

    def edit(self, **labels: str) -> None:
        """Label the Lease, as a person might."""
        assert self.lease is not None
        self._store({**self.lease, "metadata": {**self.lease["metadata"], "labels": labels}})

    def fail(self, trouble: Trouble | None, *methods: str, who: str = "one") -> None:
        """Have the requests of a replica fail, those of all methods unless some are given; None repairs them."""
        for method in methods or ("GET", "POST", "PUT"):
            self.troubles.pop((who, method), None)
            if trouble is not None:
                self.troubles[who, method] = trouble

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; it is looked at after every request."""
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(condition)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request, or not."""
        who, method = request.headers["User-Agent"], request.method
        self.requests.append((who, method))
        trouble = self.troubles.get((who, method))
        if trouble in (None, Trouble.ANSWER_LOST):
            answer = self._read() if method == "GET" else self._write(await request.json(), method)
        else:
            answer = _status(409 if trouble is Trouble.CONFLICT else 503)
        async with self.changed:
            self.changed.notify_all()
        if trouble in (Trouble.HANGS, Trouble.ANSWER_LOST):
            await asyncio.Event().wait()
        if trouble is Trouble.RESET and request.transport is not None:
            request.transport.abort()
        return answer

    def _read(self) -> web.Response:
        return web.json_response(self.lease) if self.lease else _status(404)

    def _write(self, lease: dict[str, Any], method: str) -> web.Response:
        mine = self.lease["metadata"] if self.lease else {}
        if (method == "POST") == bool(self.lease):
            return _status(409)  # a PUT that names a uid creates nothing either
        if any(lease["metadata"].get(key) != mine.get(key) for key in ("uid", "resourceVersion")):
            return _status(409)
        self._store(lease)
        return web.json_response(self.lease, status=200 if method == "PUT" else 201)

    def _store(self, lease: dict[str, Any]) -> None:
        if self.lease == lease:
            return  # a write that changes nothing is none
        self._versions += 1
        metadata = {"uid": f"uid-{self._versions}", **lease["metadata"], "resourceVersion": str(self._versions)}
        self.lease = {**lease, "metadata": metadata}


def _status(code: int) -> web.Response:
    return web.json_response({"kind": "Status", "code": code}, status=code)


@asynccontextmanager
async def lease_server() -> AsyncIterator[LeaseServer]:
    """Run a server whose Lease nobody holds."""
    server, app = LeaseServer(), web.Application()
    server.install()
    app.router.add_route("*", PATH, server.handle)
    app.router.add_route("*", f"{PATH}/{LEASE_NAME}", server.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client_of(host: str, who: str, *, fence: Fence | None = None) -> AsyncIterator[KubeClient]:
    """Open a replica's access, not fenced unless told otherwise; the server knows it by its User-Agent."""
    async with ApiClient(Configuration(host=host)) as client:
        metrics = Metrics(CollectorRegistry())
        yield KubeClient(client, metrics=metrics, fence=fence or Fence.always_open(), agent=who)
