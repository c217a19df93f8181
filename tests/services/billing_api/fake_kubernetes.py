"""An API server for CustomerInstances, in this process: list with pages, watch, server-side apply, and its bad days.

Only for what the real one cannot be made to do at will; tests/cluster runs against the real one.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

_PATH = "/apis/iotistic.cloud/v1alpha1/customerinstances"
_CONFIG_MAPS = "/api/v1/namespaces/{namespace}/configmaps/{name}"
_KEYS = "iotistic-system/license-jwks"
TOKEN = "fake-service-account-token"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeKubernetes:
    """Serves on 127.0.0.1; `stop` and `start` keep the port and the objects.

    Attributes:
        applies: names in the order they were applied, repeated applies included.
        lists, watches: how many were asked for.
        refusals: answers to give instead of applying, each once: (status, message).
        most_on_a_page: what a list answers at once, however much more is asked for.
        gate: while it is not set, applies are received and wait.
    """

    #: The tokens that are good; None for any.
    tokens: set[str] | None = None
    #: What each request showed as its Authorization.
    shown: list[str]
    #: How many requests were refused for their token.
    unauthorized = 0
    #: Whether every watch ends as too old at once.
    always_expired = False
    #: What to answer to everything, with status 200: something else that listens where the API server should be.
    impostor: str | None = None

    def __init__(self) -> None:
        self.shown = []
        #: Data of the ConfigMaps by namespace/name; there is one that the billing API may read and write.
        self.config_maps: dict[str, dict[str, str]] = {_KEYS: {}}
        #: How often it was read and written.
        self.config_map_reads = self.config_map_writes = 0
        self.objects: dict[str, dict[str, Any]] = {}
        self.applies: list[str] = []
        self.requests: list[tuple[str, str, str]] = []
        self.lists = 0
        self.watches = 0
        self.refusals: deque[tuple[int, str]] = deque()
        self.always_refuse: tuple[int, str] | None = None
        self.most_on_a_page = 500
        self.gate = asyncio.Event()
        self.gate.set()
        self.port = 0
        self._version = 100
        self._changes: list[tuple[int, dict[str, Any]]] = []
        self._oldest = 0
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._stopping = False

    async def start(self) -> None:
        """Begin to serve."""
        app = web.Application(middlewares=[self._at_the_door])
        app.router.add_get(_PATH, self._list_or_watch)
        app.router.add_patch(_PATH + "/{name}", self._apply)
        app.router.add_get(_CONFIG_MAPS, self._read_config_map)
        app.router.add_patch(_CONFIG_MAPS, self._apply_config_map)
        self._stopping = False
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections, and break those there are."""
        async with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def write_kubeconfig(self, path: Path, *, user: Mapping[str, Any] | None = None) -> Path:
        """Write how to reach it, as this user, or else with the usual token."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "clusters": [{"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "fake", "user": user or {"token": TOKEN}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at after every request and change."""
        async with self._changed, asyncio.timeout(60):
            await self._changed.wait_for(condition)

    async def set_status(self, name: str, **status: Any) -> None:
        """Write a status, as the operator does."""
        item = self.objects[name]
        item["status"] = {"observedGeneration": item["metadata"]["generation"], **status}
        await self._record("MODIFIED", item)

    async def change(self, name: str, **spec: Any) -> None:
        """Write a spec, as an administrator may."""
        item = self.objects[name]
        item["spec"] = {**item["spec"], **spec}
        item["metadata"]["generation"] += 1
        await self._record("MODIFIED", item)

    async def delete(self, name: str) -> None:
        """Remove an instance."""
        await self._record("DELETED", self.objects.pop(name))

    async def forget_history(self) -> None:
        """Make every earlier resource version too old to watch from, and end the running watches."""
        async with self._changed:
            self._version += 1
            self._oldest = self._version
            self._changes.clear()
            self._changed.notify_all()

    async def _record(self, kind: str, item: dict[str, Any]) -> None:
        async with self._changed:
            self._version += 1
            item["metadata"]["resourceVersion"] = str(self._version)
            self._changes.append((self._version, json.loads(json.dumps({"type": kind, "object": item}))))
            self._changed.notify_all()

    @web.middleware
    async def _at_the_door(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        authorization = request.headers.get("Authorization", "")
        self.shown.append(authorization)
        if self.impostor is not None:
            return web.Response(text=self.impostor)
        if self.tokens is not None and authorization.removeprefix("Bearer ") not in self.tokens:
            self.unauthorized += 1
            return web.json_response({"kind": "Status", "code": 401, "message": "Unauthorized"}, status=401)
        return await handler(request)

    async def _read_config_map(self, request: web.Request) -> web.Response:
        name = "{namespace}/{name}".format(**request.match_info)
        if name != _KEYS:
            return _forbidden(name, "get")
        async with self._changed:
            self.config_map_reads += 1
            self._changed.notify_all()
        if name not in self.config_maps:
            return web.json_response({"kind": "Status", "code": 404, "message": "not found"}, status=404)
        return web.json_response({"kind": "ConfigMap", "data": self.config_maps[name]})

    async def _apply_config_map(self, request: web.Request) -> web.Response:
        name = "{namespace}/{name}".format(**request.match_info)
        if name != _KEYS:
            return _forbidden(name, "create")
        async with self._changed:
            self.config_maps[name] = yaml.safe_load(await request.text())["data"]
            self.config_map_writes += 1
            self._changed.notify_all()
        return web.json_response({"kind": "ConfigMap", "data": self.config_maps[name]})

    async def _apply(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        body = yaml.safe_load(await request.text())
        self.requests.append((name, request.headers["Authorization"], request.query_string))
        if not self.gate.is_set():
            async with self._changed:
                self._changed.notify_all()
            await self.gate.wait()
        refusal = self.always_refuse or (self.refusals.popleft() if self.refusals else None)
        if refusal:
            async with self._changed:
                self._changed.notify_all()
            return web.json_response({"kind": "Status", "code": refusal[0], "message": refusal[1]}, status=refusal[0])
        known = self.objects.get(name)
        generation = 1 if known is None else known["metadata"]["generation"] + (known["spec"] != body["spec"])
        metadata = {**body["metadata"], "uid": f"uid-{name}", "generation": generation}
        item = {**body, "metadata": {**metadata, "creationTimestamp": "2026-01-01T00:00:00Z"}}
        self.objects[name] = item
        self.applies.append(name)
        await self._record("MODIFIED" if known else "ADDED", item)
        return web.json_response(item, status=200 if known else 201)

    async def _list_or_watch(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") == "true":
            return await self._watch(request)
        self.lists += 1
        names = sorted(self.objects)
        limit = min(int(request.query.get("limit", "500")), self.most_on_a_page)
        start = int(request.query.get("continue") or 0)
        page = [self.objects[name] for name in names[start : start + limit]]
        token = str(start + limit) if start + limit < len(names) else ""
        metadata = {"resourceVersion": str(self._version), "continue": token}
        return web.json_response({"kind": "CustomerInstanceList", "metadata": metadata, "items": page})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.watches += 1
        version = int(request.query["resourceVersion"])
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        async with self._changed:
            self._changed.notify_all()
        while not self._stopping:
            async with self._changed:
                expired = self.always_expired or version < self._oldest
                news = [change for change in self._changes if change[0] > version]
                if not expired and not news:
                    await self._changed.wait()
                    continue
            if expired:
                gone = {"kind": "Status", "code": 410, "message": "too old resource version"}
                await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
                return response
            for _, event in news:
                await response.write(json.dumps(event).encode() + b"\n")
            version = news[-1][0]
        return response


def _forbidden(name: str, verb: str) -> web.Response:
    message = f'configmaps "{name}" is forbidden: cannot {verb} resource "configmaps"'
    return web.json_response({"kind": "Status", "code": 403, "message": message}, status=403)
