"""The API server in memory behind HTTP, with lists, watches and one Lease: enough to run a whole operator against."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from customer_operator import naming
from customer_operator.errors import AlreadyExists, ClusterError
from customer_operator.kube.kinds import KINDS
from customer_operator.kube.leader import LEASE_NAME
from customer_operator.naming import Manifest
from tests.support.fake_kube import FakeKube
from tests.support.leases import PATH as LEASES
from tests.support.leases import LeaseServer
from tests.support.listwatch import Changes, begin, line


class Place(NamedTuple):
    """Where a request goes."""

    kind: str
    namespace: str | None
    name: str | None
    subresource: str


class WatchableKube(FakeKube):
    """Remembers what happened to which object, in order, for the watches."""

    def __init__(self, *objects: Manifest) -> None:
        self.changes = Changes()
        self.events: list[tuple[int, str, Manifest]] = []  # version, type, object
        super().__init__(*objects)

    def put(self, manifest: Manifest) -> Manifest:
        """Write an object, and tell of it."""
        live = super().put(manifest)
        self._tell("MODIFIED", live)
        return live

    def remove(self, kind: str, name: str, *, namespace: str | None = None) -> None:
        """Let an object be gone, and tell of it and of what has gone with it."""
        inside = [item for each in KINDS for item in self.all(each) if _is_gone(item, kind, name, namespace)]
        super().remove(kind, name, namespace=namespace)
        for live in inside:
            version = str(next(self._versions))
            self._tell("DELETED", {**live, "metadata": {**live["metadata"], "resourceVersion": version}})

    async def after(self, version: int) -> None:
        """Wait until something happens that a watch has not told of yet."""
        await self.changes.until(lambda: self.version > version, patience=None)

    def _tell(self, event: str, live: Manifest) -> None:
        self.events.append((int(live["metadata"]["resourceVersion"]), event, live))
        self.changes.notify()

    @property
    def version(self) -> int:
        """The version of the latest event."""
        return self.events[-1][0] if self.events else 0


class KubeServer:
    """Answers as an API server would from what is in memory."""

    def __init__(self, kube: WatchableKube) -> None:
        self.kube = kube
        self.leases = LeaseServer()
        self.leases.install()
        self.writers: list[str] = []  # who has written, by the identity in the User-Agent
        self.url = ""

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here."""
        named = [{"name": "x", "cluster": {"server": self.url}}]
        users, contexts = [{"name": "x", "user": {}}], [{"name": "x", "context": {"cluster": "x", "user": "x"}}]
        content = {"clusters": named, "users": users, "contexts": contexts, "current-context": "x"}
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **content}))
        return path

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        place = _place(request.path)
        try:
            if request.method != "GET":
                self.writers.append(request.headers["User-Agent"])
                return web.json_response(await self._write(request, place))
            if place.name:
                live = await self.kube.get(place.kind, place.name, namespace=place.namespace)
                return web.json_response(live) if live else _refusal(ClusterError("not found", status=404))
            return await (self._watch(request, place) if "watch" in request.query else self._list(request, place))
        except ClusterError as error:
            return _refusal(error)

    async def _write(self, request: web.Request, place: Place) -> Manifest:
        body = await request.json()
        match request.method, request.content_type:
            case "PATCH", "application/apply-patch+yaml":
                return await self.kube.apply(body, subresource=place.subresource)
            case "PATCH", _:
                metadata = {"name": place.name, "namespace": place.namespace}
                return await self.kube.merge({"kind": place.kind, "metadata": metadata}, body)
            case "POST", _:
                return await self.kube.create(body)
            case "PUT", _:
                return await self.kube.replace(body)
        uid = body["preconditions"]["uid"]
        if not await self.kube.delete(place.kind, str(place.name), uid=uid, namespace=place.namespace):
            raise ClusterError("not found", status=404)
        return {}

    async def _list(self, request: web.Request, place: Place) -> web.Response:
        items = [item for item in await self.kube.list(place.kind, namespace=place.namespace) if _wanted(request, item)]
        return web.json_response({"metadata": {"resourceVersion": str(self.kube.version)}, "items": items})

    async def _watch(self, request: web.Request, place: Place) -> web.StreamResponse:
        response, sent = await begin(request), int(request.query["resourceVersion"])
        while True:
            news = [item for item in self.kube.events if item[0] > sent]
            for version, event, live in news:
                sent = version
                if live["kind"] == place.kind and _wanted(request, live):
                    await response.write(line({"type": event, "object": live}))
            await self.kube.after(sent)


def _wanted(request: web.Request, live: Manifest) -> bool:
    selector = request.query.get("labelSelector", "")
    labels = live["metadata"].get("labels") or {}
    pairs = (item.partition("=") for item in selector.split(",") if item)
    return all(key in labels and value in ("", labels[key]) for key, _, value in pairs)


def _place(path: str) -> Place:
    for kind, entry in KINDS.items():
        scope = "(?:/namespaces/(?P<namespace>[^/]+))?" if entry.namespaced else "(?P<namespace>(?!))?"
        pattern = rf"{re.escape(entry.prefix)}{scope}/{entry.plural}(?:/(?P<name>[^/]+))?(?:/(?P<sub>status))?"
        if found := re.fullmatch(pattern, path):
            return Place(kind, found["namespace"], found["name"], found["sub"] or "")
    raise AssertionError(f"nobody serves {path}")


def _is_gone(live: Manifest, kind: str, name: str, namespace: str | None) -> bool:
    metadata = live["metadata"]
    itself = (live["kind"], metadata["name"], metadata.get("namespace")) == (kind, name, namespace)
    return itself or (kind == "Namespace" and metadata.get("namespace") == name)


def _refusal(error: ClusterError) -> web.Response:
    reason = "AlreadyExists" if isinstance(error, AlreadyExists) else {404: "NotFound"}.get(error.status, "Conflict")
    return web.json_response({"kind": "Status", "reason": reason, "message": str(error)}, status=error.status)


@asynccontextmanager
async def kube_server(*objects: Manifest) -> AsyncIterator[KubeServer]:
    """Run a server with the operator's namespace and these objects."""
    home: Manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": naming.OPERATOR_NAMESPACE}}
    server, app = KubeServer(WatchableKube(home, *objects)), web.Application()
    for path in (LEASES, f"{LEASES}/{LEASE_NAME}"):
        app.router.add_route("*", path, server.leases.handle)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await asyncio.wait_for(runner.cleanup(), 10)
