"""The one client of the API server for tooling and tests: plain objects, refusals as exceptions, watches as events."""

import json
import ssl
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from hack.errors import Refused
from hack.files import write_private

REQUEST_TIMEOUT = 30.0
HEALTH_TIMEOUT = 2.0
APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

Object = dict[str, Any]
Event = tuple[str, Object]  # ADDED, MODIFIED, DELETED or ERROR, and the object


class Client:
    """One user's access to the API server, as the kubeconfig says; safe to use from several threads."""

    def __init__(self, kubeconfig: Path, *, headers: Mapping[str, str] | None = None) -> None:
        """Take one of the kubeconfigs that kwokctl or `LocalCluster` writes, and further headers."""
        access = _access(kubeconfig)
        access["headers"] |= headers or {}
        self._http = httpx.Client(**access, timeout=REQUEST_TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        media_type: str = "application/json",
        params: Mapping[str, str] | None = None,
        timeout: float = REQUEST_TIMEOUT,
    ) -> Object:
        """Send one request and return the answer; `body` is an object, or the JSON of one as bytes.

        Raises Refused, and httpx.TransportError when there is no answer in `timeout` seconds.
        """
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        headers = {"Content-Type": media_type}
        request = self._http.build_request(
            method, path, content=content, headers=headers, params=params, timeout=timeout
        )
        while (answer := self._http.send(request)).status_code == HTTPStatus.TOO_MANY_REQUESTS:
            # It has just started, and says itself when to come again.
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        if answer.is_error:
            raise Refused(answer.status_code, answer.json().get("message", ""))
        return dict(answer.json())

    def collection(self, path: str) -> list[Object]:
        """Return all objects of a kind."""
        return list(self.send("GET", path)["items"])

    def events(
        self, path: str, *, params: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> Iterator[Event]:
        """Yield the events of one watch until the API server ends it; `timeout` is the longest silence in seconds.

        Without a resource version in `params` those objects that exist come first, as added. Raises httpx.HTTPError.
        """
        with self._http.stream("GET", path, params={**(params or {}), "watch": "true"}, timeout=timeout) as answer:
            answer.raise_for_status()
            yield from map(_event, answer.iter_lines())

    def text(self, path: str) -> str:
        """Return what is no object, such as /metrics."""
        return self._http.get(path).raise_for_status().text

    def answers(self, url: str) -> bool:
        """Tell whether any component of the cluster answers 200 at its own address."""
        try:
            return self._http.get(url, timeout=HEALTH_TIMEOUT).is_success
        except httpx.TransportError:
            return False


async def follow(kubeconfig: Path, path: str, *, params: Mapping[str, str]) -> AsyncGenerator[Event]:
    """Yield the events of one watch as `Client.events` does, in an event loop."""
    timeout = httpx.Timeout(REQUEST_TIMEOUT, read=None)
    query = {**params, "watch": "true"}
    async with (
        httpx.AsyncClient(**_access(kubeconfig), timeout=timeout) as client,
        client.stream("GET", path, params=query) as answer,
    ):
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            yield _event(line)


def write_token_kubeconfig(path: Path, *, administrator: Path, user: str, token: str, namespace: str) -> Path:
    """Write the administrator's kubeconfig with another user's token to `path`, for its owner only; return `path`."""
    content = yaml.safe_load(administrator.read_text(encoding="utf-8"))
    context = content["contexts"][0]
    context["context"] |= {"user": user, "namespace": namespace}
    content["users"] = [{"name": user, "user": {"token": token}}]
    return write_private(path, yaml.safe_dump(content, sort_keys=False))


def _access(kubeconfig: Path) -> dict[str, Any]:
    """Return the arguments of an httpx client that connects as the kubeconfig says, and past any proxy."""
    content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
    if "client-certificate" in user:
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    return {"base_url": cluster["server"], "verify": tls, "headers": headers, "trust_env": False}


def _event(line: str) -> Event:
    event = json.loads(line)
    return event["type"], event["object"]
