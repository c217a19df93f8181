"""The ConfigMaps of the routes: the only module that talks to the API server, whose errors become the router's own."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException

from mqtt_router import routes
from mqtt_router.errors import ClusterUnavailable, SettingInvalid
from mqtt_router.table import Published

_LIST_TIMEOUT: Final = aiohttp.ClientTimeout(total=15, sock_connect=5)
# The API server sends a bookmark about once a minute: silence for longer is a dead connection.
_WATCH_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=100)
_WATCH_SECONDS: Final = 300
# Bytes. A ConfigMap has 1 MiB at most, in JSON six times as much if it is of control characters.
_LONGEST_EVENT: Final = 16 * 1024 * 1024
_AGENT: Final = f"mqtt-router/{version_of('customer-instance-operator')}"
_SHOWN: Final = 200  # characters of somebody else's message


@dataclass(frozen=True, slots=True)
class ConfigMap:
    """One ConfigMap: what it publishes, None when it is no shard or lacks the routes."""

    name: str
    version: str
    published: Published | None


@dataclass(frozen=True, slots=True)
class Event:
    """One change: ADDED, MODIFIED, DELETED, or BOOKMARK, which only moves the version on."""

    type: str
    config_map: ConfigMap


class Cluster:
    """Lists and watches the ConfigMaps of one namespace.

    Every method raises ClusterUnavailable.
    """

    def __init__(self, client: ApiClient, *, namespace: str) -> None:
        """Take a configured client."""
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"

    async def list(self) -> tuple[list[ConfigMap], str]:
        """Return all ConfigMaps of routes, and the version from which to watch."""
        async with self._get({}, timeout=_LIST_TIMEOUT) as response:
            with _understood():
                answer = json.loads(await response.read())
                return [_config_map(item) for item in answer["items"]], str(answer["metadata"]["resourceVersion"])

    async def watch(self, version: str) -> AsyncIterator[Event]:
        """Yield the changes after a version, until the API server ends them."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        async with self._get(query, timeout=_WATCH_TIMEOUT) as response:
            while True:
                with _understood():
                    if not (line := await response.content.readline(max_line_length=_LONGEST_EVENT)):
                        return
                    event = _event(json.loads(line))
                yield event

    @asynccontextmanager
    async def _get(
        self,
        query: Mapping[str, str],
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the client's own, per phase
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        host = self._client.configuration.host
        url = f"{host}{self._path}?{urlencode({'labelSelector': routes.SELECTOR, **query})}"
        headers = {"Accept": "application/json", "User-Agent": _AGENT}
        with _understood():
            await self._client.update_params_for_auth(headers, [], ["BearerToken"], self._path, "GET", None)
            answer = await self._client.call_api("GET", url, headers, None, _request_timeout=timeout)
            response: aiohttp.ClientResponse = answer.response
        async with response:
            if response.status != HTTPStatus.OK:
                with _understood():
                    raise _error(response.status, (await response.read()).decode(errors="replace"))
            yield response


@asynccontextmanager
async def connect(*, kubeconfig: Path | None, namespace: str) -> AsyncIterator[Cluster]:
    """Give access by a kubeconfig, or as the pod's ServiceAccount; nothing is sent yet.

    Raises SettingInvalid when neither can be used.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    except (ConfigException, OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        place = f"it is {str(kubeconfig)!r}" if kubeconfig else "this is no pod with a ServiceAccount's token"
        raise SettingInvalid({"KUBECONFIG": f"must name a kubeconfig that can be used; {place}"}) from error
    # The library would look for proxies in the environment, and for passwords in ~/.netrc.
    configuration.client_session_kwargs = {"trust_env": False}
    async with ApiClient(configuration) as client:
        yield Cluster(client, namespace=namespace)


@contextmanager
def _understood() -> Iterator[None]:
    """Take silence, and what is not as the API promises, for an outage."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, ConfigException) as error:
        raise ClusterUnavailable(f"the API server does not answer ({type(error).__name__})") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ClusterUnavailable(f"the API server sends what cannot be read ({type(error).__name__})") from error


def _error(status: int, message: str) -> ClusterUnavailable:
    return ClusterUnavailable(f"the API server answers {status}: {message.strip()[:_SHOWN]}")


def _event(document: Mapping[str, Any]) -> Event:
    kind, item = document["type"], document["object"]
    if kind == "ERROR":
        raise _error(item.get("code", 500), str(item.get("message", "")))
    return Event(kind, _config_map(item))


def _config_map(item: Mapping[str, Any]) -> ConfigMap:
    metadata = item["metadata"]
    name, text = metadata.get("name", ""), (item.get("data") or {}).get(routes.DATA_KEY)
    published = None
    if name in routes.CONFIG_MAPS and text is not None:
        at = _time((metadata.get("annotations") or {}).get(routes.PUBLISHED_AT_ANNOTATION, ""))
        published = Published(shard=routes.CONFIG_MAPS.index(name), text=text, at=at)
    return ConfigMap(name=name, version=metadata["resourceVersion"], published=published)


def _time(text: str) -> datetime | None:
    with suppress(ValueError):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None
