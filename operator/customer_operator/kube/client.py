"""Access to the API server: one verb to write, few to read; its errors become the operator's own."""

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import ConfigException

from customer_operator import naming
from customer_operator.errors import ClusterError, ClusterUnreachable, PermissionMissing
from customer_operator.kube.configuration import Renewal, load_configuration
from customer_operator.kube.fence import Fence, FencedRequest
from customer_operator.kube.kinds import api_version, path_of
from customer_operator.kube.responses import convert, convert_status
from customer_operator.metrics import Metrics
from customer_operator.naming import Manifest

P = ParamSpec("P")
T = TypeVar("T")

_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_MERGE = "application/merge-patch+json"
_JSON = "application/json"
_TIMEOUT = aiohttp.ClientTimeout(total=30)  # seconds; the API server's own limit is 60
# Objects a list asks for at a time: bounds the memory of one answer, and how long decoding it holds up the loop.
_LIST_CHUNK = 250
# Seconds of silence after which a watch counts as dead; the API server sends a bookmark about once a minute
# (k8s.io/apiserver, storage/cacher/cacher.go: bookmarkFrequency).
_SILENCE = 150.0
# Seconds after an outage in which an API server that has just started may refuse everything: it answers before its
# authorizer has read the roles, and before its allocator has seen the ranges of addresses, which it then calls full.
_WAKING = 10.0
# What uvloop says of a new socket whose number one of its transports has not let go of yet, as happens when connections
# break off by the dozen (uvloop/loop.pyx: _ensure_fd_no_transport). There is no connection yet, so nothing was sent.
_NOT_LET_GO = "is used by transport"
_DISTRIBUTION = "customer-instance-operator"  # as pyproject.toml calls it
_NO_COMMENT = re.compile(r"[^!#-'*-\[\]-~ ]")


@dataclass(frozen=True, slots=True)
class Page:
    """A chunk of a list, and the resource version of the whole list."""

    items: list[Manifest]
    version: str


class KubeClient:
    """Access to the API server with the operator's own rights."""

    def __init__(
        self,
        client: ApiClient,
        *,
        metrics: Metrics,
        fence: Fence,
        agent: str = naming.FIELD_MANAGER,
        renewal: Renewal | None = None,
    ) -> None:
        """Take a configured client, the metrics that count its requests, and the fence that its writes have to pass.

        The renewal is told of tokens that are refused.
        """
        self._client = client
        self._renewal = renewal
        self._metrics = metrics
        self._fence = fence
        self._agent = agent
        self._away_at = -math.inf  # when it was last found unreachable

    async def apply(self, manifest: Manifest, *, subresource: str = "") -> Manifest:
        """Server-side apply an object as the operator's own field manager, by force, and return the live object.

        Raises the errors of `request`; with a metadata.uid, Conflict when that very object is gone.
        """
        metadata = manifest["metadata"]
        path = path_of(manifest["kind"], namespace=metadata.get("namespace"), name=metadata["name"])
        query = {"fieldManager": naming.FIELD_MANAGER, "force": "true"}
        return await self.request(
            "PATCH", path + (f"/{subresource}" if subresource else ""), body=manifest, content_type=_APPLY, query=query
        )

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object that must not exist yet; AlreadyExists otherwise."""
        path = path_of(manifest["kind"], namespace=manifest["metadata"].get("namespace"))
        return await self.request("POST", path, body=manifest, query={"fieldManager": naming.FIELD_MANAGER})

    async def merge(self, live: Manifest, patch: Manifest) -> Manifest:
        """Change a few fields of a live object (JSON merge patch, RFC 7386), whatever its desired state may be."""
        metadata = live["metadata"]
        path = path_of(live["kind"], namespace=metadata.get("namespace"), name=metadata["name"])
        return await self.request(
            "PATCH", path, body=patch, content_type=_MERGE, query={"fieldManager": naming.FIELD_MANAGER}
        )

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object whole; Conflict when it is not at the manifest's resourceVersion any more."""
        metadata = manifest["metadata"]
        path = path_of(manifest["kind"], namespace=metadata.get("namespace"), name=metadata["name"])
        return await self.request("PUT", path, body=manifest, query={"fieldManager": naming.FIELD_MANAGER})

    async def get(self, kind: str, name: str, *, namespace: str | None = None) -> Manifest | None:
        """Return a live object, or None when there is none."""
        return await self._optional("GET", path_of(kind, namespace=namespace, name=name))

    async def delete(self, kind: str, name: str, *, uid: str, namespace: str | None = None) -> bool:
        """Delete the object with this uid; False when it is gone already."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        path = path_of(kind, namespace=namespace, name=name)
        return await self._optional("DELETE", path, body=body) is not None

    async def list(self, kind: str, *, namespace: str, selector: Mapping[str, str]) -> list[Manifest]:
        """Return all objects of a kind in a namespace that carry the labels."""
        pages = self.pages(kind, namespace=namespace, selector=selector_of(selector))
        return [item async for page in pages for item in page.items]

    async def pages(self, kind: str, *, namespace: str | None = None, selector: str = "") -> AsyncIterator[Page]:
        """Yield all objects of a kind in chunks, from one namespace or from all; VersionExpired when it took too long.

        `selector` is a label selector, which the API server applies.
        """
        query = {"limit": str(_LIST_CHUNK), **({"labelSelector": selector} if selector else {})}
        while True:
            answer = await self.request("GET", path_of(kind, namespace=namespace), query=query)
            version = api_version(kind)
            items = [{**item, "apiVersion": version, "kind": kind} for item in answer["items"]]
            yield Page(items=items, version=answer["metadata"]["resourceVersion"])
            if not (token := answer["metadata"].get("continue")):
                return
            query["continue"] = token

    async def watch(
        self, kind: str, *, selector: str, version: str, seconds: int, namespace: str | None = None
    ) -> AsyncIterator[Manifest]:
        """Yield the watch events of a kind ({type, object}) after a resource version, for so many seconds at most.

        They come from one namespace or from all. Raises VersionExpired when everything must be listed again, and the
        errors of `request`.
        """
        what, query = f"WATCH {kind}", {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        query |= {"timeoutSeconds": str(seconds), **({"labelSelector": selector} if selector else {})}
        timeout = aiohttp.ClientTimeout(sock_connect=_TIMEOUT.total, sock_read=_SILENCE)
        try:
            path = path_of(kind, namespace=namespace)
            answer = await self._send("GET", path, query=query, limits=timeout, what="WATCH")
            try:
                if answer.status != 200:
                    raise convert(answer.status, await answer.content.read(), what=what)
                async for line in _lines(answer.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise convert_status(event["object"].get("code", 500), event["object"], what=what)
                    yield event
            finally:
                answer.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ClusterUnreachable(f"{what}: the stream broke ({type(error).__name__})") from error

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Manifest | None = None,
        content_type: str = _JSON,
        query: Mapping[str, str] | None = None,
    ) -> Manifest:
        """Send one request and return the decoded answer.

        Raises ClusterUnreachable when no answer comes or the server is not able to work, Conflict, AlreadyExists,
        PermissionMissing and AdmissionRefused for what they say, ClusterError for every other refusal; of a write
        LeadershipLost, when this replica does not lead (any more).
        """
        passage = nullcontext() if method == "GET" else self._fence.guard(f"{method} {path}")
        async with passage:
            return await self._exchange(method, path, body=body, content_type=content_type, query=query)

    async def _exchange(
        self, method: str, path: str, *, body: Manifest | None, content_type: str, query: Mapping[str, str] | None
    ) -> Manifest:
        answer = await self._send(
            method, path, body=body, content_type=content_type, query=query, limits=_TIMEOUT, what=method
        )
        try:
            data = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(method, path, error) from error
        if answer.status < 300:
            return dict(json.loads(data))
        raise self._in_context(convert(answer.status, data, what=f"{method} {path}"))

    async def _send(
        self,
        method: str,
        path: str,
        *,
        what: str,
        limits: aiohttp.ClientTimeout,
        body: Manifest | None = None,
        content_type: str = _JSON,
        query: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request, and count it as `what`; the caller reads the answer."""
        url = f"{self._client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": _JSON, "Content-Type": content_type, "User-Agent": self._agent}
        try:
            await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            answer = await self._client.call_api(method, url, headers, body, _request_timeout=limits)
        except (aiohttp.ClientError, TimeoutError, OSError, ConfigException) as error:
            raise self._unreachable(what, path, error) from error
        except RuntimeError as error:
            if _NOT_LET_GO not in str(error):
                raise
            raise self._unreachable(what, path, error) from error
        self._metrics.request(what, str(answer.status))
        if answer.status == 401 and self._renewal is not None:
            self._renewal.refused()
        response: aiohttp.ClientResponse = answer.response
        return response

    def _unreachable(self, what: str, path: str, error: Exception) -> ClusterUnreachable:
        self._metrics.request(what, "unreachable")
        self._away_at = time.monotonic()
        return ClusterUnreachable(f"{what} {path}: no answer ({type(error).__name__})")

    def _in_context(self, error: ClusterError) -> ClusterError:
        """Return the error as it is to be taken: just after an outage a refusal that may pass is part of it."""
        may_pass = isinstance(error, PermissionMissing) or error.status == HTTPStatus.INTERNAL_SERVER_ERROR
        if isinstance(error, ClusterUnreachable):
            self._away_at = time.monotonic()
        elif may_pass and time.monotonic() - self._away_at < _WAKING:
            return ClusterUnreachable(f"the API server has just come back: {error}", status=error.status)
        return error

    async def _optional(self, method: str, path: str, *, body: Manifest | None = None) -> Manifest | None:
        try:
            return await self.request(method, path, body=body)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise


# Seconds. A new RoleBinding takes a moment, usually milliseconds, to reach the authorizer's cache.
_BINDING_DELAYS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5)


async def patiently(call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a call in an instance's namespace, again and again for seconds while our binding there is not in force."""
    for delay in _BINDING_DELAYS:
        try:
            return await call(*args, **kwargs)
        except PermissionMissing:
            await asyncio.sleep(delay)
    return await call(*args, **kwargs)


def selector_of(labels: Mapping[str, str]) -> str:
    """Return the label selector that these labels make together."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, however long: aiohttp's own iteration refuses those above 128 KiB."""
    buffer = bytearray()
    async for chunk in content.iter_any():
        buffer += chunk
        *lines, rest = buffer.split(b"\n")
        for line in lines:
            yield bytes(line)
        buffer = rest


@asynccontextmanager
async def connect(
    *, kubeconfig: Path | None, metrics: Metrics, fence: Fence, identity: str
) -> AsyncIterator[KubeClient]:
    """Open a pool of connections with the rights of a pod's ServiceAccount, or of a kubeconfig file when one is given.

    The API server's audit log shows the replica's identity as part of the User-Agent.
    """
    configuration, renewal = await load_configuration(kubeconfig)
    # The client would look for proxies in the environment, and for passwords in ~/.netrc, at every single request.
    configuration.client_session_kwargs = {"trust_env": False, "request_class": FencedRequest}
    async with renewal, ApiClient(configuration) as client:
        yield KubeClient(client, metrics=metrics, fence=fence, agent=user_agent(identity), renewal=renewal)


def user_agent(identity: str) -> str:
    """Return the User-Agent of a replica: `customer-operator/0.1.0 (pod-name)`."""
    # What may not stand in a comment (RFC 9110, 5.6.5) without being escaped is replaced.
    return f"{naming.FIELD_MANAGER}/{version(_DISTRIBUTION)} ({_NO_COMMENT.sub('_', identity)})"
