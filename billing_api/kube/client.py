"""Requests to the API server: about customerinstances, and the one ConfigMap of the license keys."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self

import aiohttp
from kubernetes.aio import client

from billing_api.errors import ClusterRejected, ClusterUnavailable, WatchExpired
from billing_api.kube import refusals
from billing_api.kube.configuration import Configuration
from billing_api.kube.credentials import Credential, Credentials, load_certificate
from billing_api.kube.instances import FIELD_MANAGER, GROUP, PLURAL, VERSION

Query = list[tuple[str, str]]

_PATH = f"/apis/{GROUP}/{VERSION}/{PLURAL}"
#: client-go's page size.
_PAGE = 500
_APPLY: Final[Query] = [("fieldManager", FIELD_MANAGER), ("force", "true"), ("fieldValidation", "Strict")]
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
#: The API server sends a bookmark about once a minute: silence for longer is a dead connection.
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=100)
_WATCH_SECONDS = 300
#: These answers are about the object itself; all others (rights, load, outage, CRD not installed) can change.
_PERMANENT = frozenset({400, 413, 422})


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What the API server says after an apply; the version is None where it is not a number."""

    generation: int
    resource_version: int | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One change: ADDED, MODIFIED, DELETED, or BOOKMARK, which only moves the version on.

    Attributes:
        version: the resource version of the change.
    """

    type: str
    item: Mapping[str, Any]
    name: str
    version: str


class _NotFound(ClusterUnavailable):
    """There is no such thing, or not yet."""


class KubeClient:
    """The API server, with the billing API's own rights."""

    def __init__(self, api: client.ApiClient, credentials: Credentials) -> None:
        self._api = api
        self._credentials = credentials
        self._certificate: tuple[str, str] | None = None

    @classmethod
    @asynccontextmanager
    async def connect(cls, found: Configuration) -> AsyncIterator[Self]:
        """Give a client until the end of the block; nothing is sent yet."""
        async with client.ApiClient(configuration=found.server) as api:
            yield cls(api, found.credentials)

    async def apply(self, manifest: Mapping[str, Any]) -> Applied:
        """Create or update one CustomerInstance by server-side apply.

        Raises:
            ClusterRejected: the API server refuses this object for good.
            ClusterUnavailable: it does not answer, or cannot do it now.
        """
        name = manifest["metadata"]["name"]
        answer = await self._json("PATCH", f"{_PATH}/{name}", _APPLY, body=manifest, what="the instance")
        with _understood():
            metadata = answer["metadata"]
            return Applied(
                generation=metadata["generation"], resource_version=version_number(metadata.get("resourceVersion"))
            )

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Return the data of a ConfigMap; None when there is no such ConfigMap.

        Raises:
            ClusterRejected, ClusterUnavailable: it cannot be read, or not now.
        """
        try:
            answer = await self._json("GET", _config_map_path(namespace, name), [])
        except _NotFound:
            return None
        with _understood():
            return _data_of(answer)

    async def apply_config_map(self, namespace: str, name: str, data: Mapping[str, str]) -> None:
        """Create or write a ConfigMap by server-side apply; ours are the keys given here.

        Raises:
            ClusterRejected: the API server refuses this content for good.
            ClusterUnavailable: it does not answer, cannot do it now, or lets us not (manifests/base is not installed).
        """
        metadata = {"name": name, "namespace": namespace}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}
        path = _config_map_path(namespace, name)
        answer = await self._json("PATCH", path, _APPLY, body=body, what=f"ConfigMap {namespace}/{name}")
        with _understood():
            _data_of(answer)

    async def pages(self) -> AsyncIterator[tuple[list[Event], str]]:
        """Yield all instances in pages, as if ADDED, each page with the resource version the whole list is of.

        Raises:
            ClusterUnavailable, WatchExpired: the list must be started anew.
        """
        token: str | None = ""
        while token is not None:
            query = [("limit", str(_PAGE))] + ([("continue", token)] if token else [])
            page = await self._json("GET", _PATH, query)
            with _understood():
                items = [_event({"type": "ADDED", "object": item}) for item in page["items"] or ()]
                metadata = page["metadata"]
                version, token = str(metadata["resourceVersion"]), metadata.get("continue") or None
            yield items, version

    @asynccontextmanager
    async def watch(self, resource_version: str) -> AsyncIterator[AsyncIterator[Event]]:
        """Give the changes after a resource version; the server ends them after some minutes.

        Raises:
            WatchExpired: the version is too old; list again.
            ClusterUnavailable: the watch cannot be opened, or broke.
        """
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", str(_WATCH_SECONDS)),
        ]
        async with self._request("GET", _PATH, query, timeout=_WATCH_TIMEOUT) as response:
            yield _events(response)

    async def _json(
        self,
        method: str,
        path: str,
        query: Query,
        *,
        body: Mapping[str, Any] | None = None,
        what: str = "the request",
    ) -> dict[str, Any]:
        async with self._request(method, path, query, body=body, what=what) as response:
            with _understood():
                return dict(await response.json(content_type=None))

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Query,
        *,
        body: Mapping[str, Any] | None = None,
        what: str = "the request",
        timeout: aiohttp.ClientTimeout = _REQUEST_TIMEOUT,  # noqa: ASYNC109 - the client's own, per phase
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and give the response when it is a success; every failure becomes one of our errors."""
        credential = await self._credentials.get()
        headers = {"Accept": "application/json", **self._identify(credential)}
        if body is not None:
            headers["Content-Type"] = "application/apply-patch+yaml"
        try:
            serialized = await self._api.param_serialize(
                method, path, query_params=query, header_params=headers, body=body
            )
            answer = await self._api.call_api(*serialized, _request_timeout=timeout)
            async with answer.response as response:
                if response.status == HTTPStatus.UNAUTHORIZED:
                    self._credentials.refused(credential)
                if not response.ok:
                    why = refusals.reason(await response.read(), sent=body)
                    raise _error(response.status, why, what=what)
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ClusterUnavailable(f"Kubernetes does not answer ({type(error).__name__})") from error

    def _identify(self, credential: Credential) -> dict[str, str]:
        """Return the headers that say who we are; a certificate goes into the TLS of new connections."""
        headers = {} if credential.authorization is None else {"Authorization": credential.authorization}
        if credential.certificate is None:
            return headers
        if credential.certificate != self._certificate:
            load_certificate(self._api.rest_client.ssl_context, credential.certificate)
            self._certificate = credential.certificate
        # A connection goes on showing the certificate it was made with.
        return {**headers, "Connection": "close"}


def _config_map_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{name}"


def _data_of(answer: Mapping[str, Any]) -> dict[str, str]:
    if answer["kind"] != "ConfigMap":
        raise ValueError
    return dict(answer.get("data") or {})


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Read a watch: one JSON document a line."""
    while True:
        with _understood():
            if not (line := await response.content.readline()):
                return
            event = _event(json.loads(line))
        yield event


def _event(document: Mapping[str, Any]) -> Event:
    kind, item = document["type"], document["object"]
    if kind == "ERROR":
        raise _error(item.get("code", 500), refusals.shown(str(item.get("message", ""))), what="the watch")
    return Event(
        type=kind, item=item, name=item["metadata"].get("name", ""), version=item["metadata"]["resourceVersion"]
    )


@contextmanager
def _understood() -> Iterator[None]:
    """Take an answer that is not as the API promises for an outage: something else may sit where it should be."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ClusterUnavailable(f"Kubernetes sends what cannot be read ({type(error).__name__})") from error


def version_number(resource_version: str | None) -> int | None:
    """Return a resource version as the number it is since Kubernetes 1.35 promises so (KEP-5504), or None."""
    return int(resource_version) if resource_version and resource_version.isdecimal() else None


def _error(status: int, message: str, *, what: str) -> ClusterUnavailable | ClusterRejected | WatchExpired:
    if status == HTTPStatus.GONE:  # "Resource versions" in the Kubernetes API concepts
        return WatchExpired(message)
    if status in _PERMANENT:
        return ClusterRejected(f"Kubernetes refuses {what}: {message}")
    kind = _NotFound if status == HTTPStatus.NOT_FOUND else ClusterUnavailable
    return kind(f"Kubernetes answers {status}: {message}")
