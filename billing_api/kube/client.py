"""The only module that talks to Kubernetes, and only about customerinstances."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import aiohttp
import yaml
from kubernetes.aio import client, config

from billing_api.errors import ClusterRejected, ClusterUnavailable, SettingsError, WatchExpired
from billing_api.kube.instances import FIELD_MANAGER, GROUP, PLURAL, VERSION
from billing_api.settings import Settings

#: How to reach an API server.
Configuration = client.Configuration

_PATH = f"/apis/{GROUP}/{VERSION}/{PLURAL}"
#: client-go's page size.
_PAGE = 500
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
#: The API server sends a bookmark about once a minute: silence for longer is a dead connection.
_WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=100)
_WATCH_SECONDS = 300
#: These answers are about the object itself; all others (rights, load, outage, CRD not installed) can change.
_PERMANENT = frozenset({400, 413, 422})
#: The API server repeats bad values in its messages, and a license must not end up in a log.
_JWT = re.compile(r"eyJ[A-Za-z0-9_.-]+")
_MAX_MESSAGE = 500


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What the API server says after an apply; the version is None where it is not a number."""

    generation: int
    resource_version: int | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One change: ADDED, MODIFIED, DELETED, or BOOKMARK, which only moves the version on."""

    type: str
    item: Mapping[str, Any]


async def configuration(settings: Settings) -> Configuration | None:
    """Find the cluster to use: KUBECONFIG, else the pod's service account, else None.

    Raises:
        SettingsError: what is there cannot be used.
    """
    found = Configuration()
    try:
        if settings.kubeconfig is not None:
            await config.load_kube_config(
                config_file=str(settings.kubeconfig), client_configuration=found, persist_config=False
            )
        elif settings.kubernetes_service_host:
            config.load_incluster_config(client_configuration=found)
        else:
            return None
    except (config.ConfigException, OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(
            f"KUBECONFIG: {settings.kubeconfig or 'the service account'} cannot be used: {error}"
        ) from error
    return found


class Cluster:
    """The API server."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    @asynccontextmanager
    async def connect(cls, found: Configuration) -> AsyncIterator[Self]:
        """Give a Cluster until the end of the block; nothing is sent yet."""
        async with client.ApiClient(configuration=found) as api:
            yield cls(api)

    async def apply(self, manifest: Mapping[str, Any]) -> Applied:
        """Create or update one CustomerInstance by server-side apply.

        Raises:
            ClusterRejected: the API server refuses this object for good.
            ClusterUnavailable: it does not answer, or cannot do it now.
        """
        path = f"{_PATH}/{manifest['metadata']['name']}"
        query = [("fieldManager", FIELD_MANAGER), ("force", "true"), ("fieldValidation", "Strict")]
        answer = await self._json("PATCH", path, query, body=manifest)
        metadata = answer["metadata"]
        return Applied(
            generation=metadata["generation"], resource_version=version_number(metadata.get("resourceVersion"))
        )

    async def pages(self) -> AsyncIterator[tuple[list[Mapping[str, Any]], str]]:
        """Yield all instances in pages, each with the resource version the whole list is of.

        Raises:
            ClusterUnavailable, WatchExpired: the list must be started anew.
        """
        token: str | None = ""
        while token is not None:
            query = [("limit", str(_PAGE))] + ([("continue", token)] if token else [])
            page = await self._json("GET", _PATH, query)
            yield page["items"], page["metadata"]["resourceVersion"]
            token = page["metadata"].get("continue") or None

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
        self, method: str, path: str, query: list[tuple[str, str]], *, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        async with self._request(method, path, query, body=body) as response:
            try:
                answer: dict[str, Any] = await response.json(content_type=None)
            except ValueError as error:
                raise ClusterUnavailable("Kubernetes sends an answer that is not JSON") from error
            return answer

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        *,
        body: Mapping[str, Any] | None = None,
        timeout: aiohttp.ClientTimeout = _REQUEST_TIMEOUT,  # noqa: ASYNC109 - the client's own, per phase
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and give the response when it is a success; every failure becomes one of our errors."""
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/apply-patch+yaml"
        try:
            serialized = await self._api.param_serialize(
                method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            answer = await self._api.call_api(*serialized, _request_timeout=timeout)
            async with answer.response as response:
                if not response.ok:
                    raise _error(response.status, _reason(await response.read()))
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ClusterUnavailable(f"Kubernetes does not answer ({type(error).__name__})") from error


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    """Read a watch: one JSON document a line."""
    try:
        async for line in response.content:
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise _error(event["object"].get("code", 500), event["object"].get("message", ""))
            yield Event(type=event["type"], item=event["object"])
    except ValueError as error:
        raise ClusterUnavailable("Kubernetes sends a watch event that cannot be read") from error


def version_number(resource_version: str | None) -> int | None:
    """Return a resource version as the number it is since Kubernetes 1.35 promises so (KEP-5504), or None."""
    return int(resource_version) if resource_version and resource_version.isdecimal() else None


def _reason(body: bytes) -> str:
    """Return the message of a metav1.Status."""
    try:
        return str(json.loads(body).get("message", ""))
    except (ValueError, AttributeError):
        return ""


def _error(status: int, message: str) -> ClusterUnavailable | ClusterRejected | WatchExpired:
    message = _JWT.sub("[license]", message)[:_MAX_MESSAGE]
    if status == HTTPStatus.GONE:  # "Resource versions" in the Kubernetes API concepts
        return WatchExpired(message)
    if status in _PERMANENT:
        return ClusterRejected(f"Kubernetes refuses the instance: {message}")
    return ClusterUnavailable(f"Kubernetes answers {status}: {message}")
