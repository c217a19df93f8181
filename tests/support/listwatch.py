"""An API server in this process that lists in chunks and watches, and can be told to fail in every way.

The protocol: kubernetes.io/docs/reference/using-api/api-concepts (efficient detection of changes, chunks, bookmarks).
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration
from prometheus_client import CollectorRegistry

from customer_operator.kube.client import KubeClient
from customer_operator.kube.fence import Fence
from customer_operator.metrics import Metrics
from customer_operator.naming import Manifest

# Answers one request in place of the server; it may call what it stands in for.
Fault = Callable[["ListWatchServer", web.Request], Awaitable[web.StreamResponse]]
_PATIENCE = 10.0  # seconds that a condition is awaited before a test fails


class Changes:
    """Lets conditions be awaited, which are looked at whenever something has happened."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def notify(self) -> None:
        """Have the conditions looked at."""
        for happened in self._waiting:
            happened.set()

    async def until(self, condition: Callable[[], object], *, patience: float | None = _PATIENCE) -> None:
        """Wait until the condition holds; TimeoutError when it does not within the seconds of patience."""
        happened = asyncio.Event()
        self._waiting.add(happened)
        try:
            async with asyncio.timeout(patience):
                while not condition():
                    happened.clear()
                    await happened.wait()
        finally:
            self._waiting.discard(happened)


class ListWatchServer:
    """Services of all namespaces; `lists` and `watches` are the faults of the next requests of either kind."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.objects: dict[str, Manifest] = {}  # by uid
        self.version = 100
        self.oldest = 0  # watches from before this version have expired
        self.lists: deque[Fault] = deque()
        self.watches: deque[Fault] = deque()
        self.queries: list[Mapping[str, str]] = []
        self._events: list[tuple[int, Manifest]] = []
        self._waiting: set[asyncio.Event] = set()
        self._snapshots: dict[str, list[Manifest]] = {}

    # -- what a test does ----------------------------------------------------------------------------------------------

    def put(self, uid: str, **spec: object) -> None:
        """Create or change an object."""
        kind = "MODIFIED" if uid in self.objects else "ADDED"
        self.version += 1
        metadata = {"name": uid, "namespace": "customer-acme", "uid": uid, "resourceVersion": str(self.version)}
        self.objects[uid] = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
        self._tell(kind, self.objects[uid])

    def delete(self, uid: str) -> None:
        """Delete an object; the watch shows it with the version of its deletion."""
        self.version += 1
        gone = self.objects.pop(uid)
        self._tell("DELETED", {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}})

    def bookmark(self) -> None:
        """Tell the watches how far they are, as the API server does now and then."""
        self.version += 1
        self._tell("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": str(self.version)}})

    def expire(self) -> None:
        """Forget all history, as a compaction does."""
        self.oldest = self.version
        self._events.clear()

    @property
    def watched_from(self) -> list[int]:
        """The versions from which watches were begun."""
        return [int(query["resourceVersion"]) for query in self.queries if "watch" in query]

    @property
    def list_count(self) -> int:
        """How many lists were begun."""
        return sum("watch" not in query and "continue" not in query for query in self.queries)

    # -- what it answers -----------------------------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a list or a watch, or fail as it was told to."""
        self.queries.append(dict(request.query))
        self.changes.notify()
        faults = self.watches if "watch" in request.query else self.lists
        if faults:
            return await faults.popleft()(self, request)
        return await (self.watch(request) if "watch" in request.query else self.list(request))

    async def list(self, request: web.Request) -> web.Response:
        """Answer a chunk of the snapshot that was taken with the first; the items carry no kind."""
        token = request.query.get("continue", "")
        version, _, start = (token or f"{self.version}/0").partition("/")
        if not token:
            self._snapshots[version] = list(self.objects.values())
        items, begin, limit = self._snapshots[version], int(start), int(request.query["limit"])
        metadata = {"resourceVersion": version}
        if begin + limit < len(items):
            metadata["continue"] = f"{version}/{begin + limit}"
        chunk = [
            {key: value for key, value in item.items() if key not in ("apiVersion", "kind")}
            for item in items[begin : begin + limit]
        ]
        return web.json_response({"kind": "ServiceList", "metadata": metadata, "items": chunk})

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Stream what happened after a version, and what happens from now on, until the client goes away."""
        since = int(request.query["resourceVersion"])
        if since < self.oldest:
            return await stream(request, line(error(410, "Expired")))
        response = await begin(request)
        sent = since
        while True:
            for version, event in list(self._events):
                if version > sent:
                    await response.write(line(event))
                    sent = version
            await self._more(sent)

    async def _more(self, sent: int) -> None:
        happened = asyncio.Event()
        self._waiting.add(happened)
        try:
            if not any(version > sent for version, _ in self._events):
                await happened.wait()
        finally:
            self._waiting.discard(happened)

    def _tell(self, kind: str, live: Manifest) -> None:
        self._events.append((self.version, {"type": kind, "object": live}))
        for happened in self._waiting:
            happened.set()


# -- faults ----------------------------------------------------------------------------------------------------------


def refuse(status: int, reason: str = "") -> Fault:
    """Return a fault that answers with a refusal."""

    async def fault(_: ListWatchServer, __: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "reason": reason, "code": status, "message": reason}, status=status)

    return fault


def send(*chunks: bytes, abort: bool = False, hold: bool = False) -> Fault:
    """Return a fault that streams these bytes; then the connection breaks off, stays silent, or ends in order."""

    async def fault(_: ListWatchServer, request: web.Request) -> web.StreamResponse:
        response = await stream(request, *chunks)
        if hold:
            await asyncio.Event().wait()
        if abort:
            assert request.transport is not None
            request.transport.abort()
        return response

    return fault


async def begin(request: web.Request) -> web.StreamResponse:
    """Begin an answer without an end."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    return response


async def stream(request: web.Request, *chunks: bytes) -> web.StreamResponse:
    """Send these bytes, each in a piece of its own."""
    response = await begin(request)
    for chunk in chunks:
        await response.write(chunk)
    return response


def line(event: Manifest) -> bytes:
    """Return an event as the watch sends it."""
    return json.dumps(event).encode() + b"\n"


def error(code: int, reason: str) -> Manifest:
    """Return the event by which a watch tells that it cannot go on."""
    status = {"kind": "Status", "code": code, "reason": reason, "message": "too old resource version"}
    return {"type": "ERROR", "object": status}


@asynccontextmanager
async def serving(server: ListWatchServer) -> AsyncIterator[KubeClient]:
    """Serve, and yield a client."""
    app = web.Application()
    app.router.add_get("/api/v1/services", server.answer)
    async with (
        TestServer(app) as address,
        ApiClient(Configuration(host=str(address.make_url("")).rstrip("/"))) as client,
    ):
        yield KubeClient(client, metrics=Metrics(CollectorRegistry()), fence=Fence.always_open())
