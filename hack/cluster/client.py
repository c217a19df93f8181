"""The one client of the API server for tooling and tests: plain objects, refusals as exceptions, watches as events."""

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import yaml
from urllib3 import BaseHTTPResponse, PoolManager
from urllib3.exceptions import HTTPError

from hack.errors import Refused, Unreachable
from hack.files import write_private

REQUEST_TIMEOUT = 30.0
HEALTH_TIMEOUT = 2.0
CONNECTIONS = 20  # more are opened when needed, and not kept
APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

Object = dict[str, Any]
Event = tuple[str, Object]  # ADDED, MODIFIED, DELETED or ERROR, and the object


class Client:
    """One user's access to the API server, as the kubeconfig says; safe to use from several threads.

    By urllib3, as Kubernetes' own client: it takes half of httpx's processor time, and a benchmark would notice.
    """

    def __init__(self, kubeconfig: Path, *, headers: Mapping[str, str] | None = None) -> None:
        """Take one of the kubeconfigs that kwokctl or `LocalCluster` writes, and further headers."""
        content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        if "client-certificate" in user:
            tls.load_cert_chain(user["client-certificate"], user["client-key"])
        bearer = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._server = str(cluster["server"])
        self._headers = {"Accept": "application/json", **bearer, **(headers or {})}
        self._http = PoolManager(ssl_context=tls, maxsize=CONNECTIONS, retries=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.clear()

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

        Raises Refused, and Unreachable when there is no answer in `timeout` seconds.
        """
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        headers = {**self._headers, "Content-Type": media_type}
        address = self._address(path, params)
        while True:
            try:
                answer = self._http.request(method, address, body=content, headers=headers, timeout=timeout)
            except HTTPError as error:
                raise Unreachable(f"{method} {path}: {error}") from error
            if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
                return _decoded(answer)
            # It has just started, and says itself when to come again.
            time.sleep(float(answer.headers.get("Retry-After", 1)))

    def collection(self, path: str) -> list[Object]:
        """Return all objects of a kind."""
        return list(self.send("GET", path)["items"])

    def events(
        self, path: str, *, params: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> Iterator[Event]:
        """Yield the events of one watch until the API server ends it; `timeout` is the longest silence in seconds.

        Without a resource version in `params` those objects that exist come first, as added. Raises Refused, and
        urllib3.exceptions.HTTPError when the connection breaks.
        """
        address = self._address(path, {**(params or {}), "watch": "true"})
        answer = self._http.request("GET", address, headers=self._headers, timeout=timeout, preload_content=False)
        try:
            if answer.status >= HTTPStatus.BAD_REQUEST:
                _decoded(answer)
            for line in answer:
                event = json.loads(line)
                yield event["type"], event["object"]
        finally:
            answer.close()

    def text(self, path: str) -> str:
        """Return what is no object, such as /metrics."""
        answer = self._http.request("GET", self._address(path), headers=self._headers, timeout=REQUEST_TIMEOUT)
        return answer.data.decode()

    def answers(self, url: str) -> bool:
        """Tell whether any component of the cluster answers 200 at its own address."""
        try:
            return self._http.request("GET", url, timeout=HEALTH_TIMEOUT).status == HTTPStatus.OK
        except HTTPError:
            return False

    def _address(self, path: str, params: Mapping[str, str] | None = None) -> str:
        return f"{self._server}{path}?{urlencode(params)}" if params else f"{self._server}{path}"


def write_token_kubeconfig(path: Path, *, administrator: Path, user: str, token: str, namespace: str) -> Path:
    """Write the administrator's kubeconfig with another user's token to `path`, for its owner only; return `path`."""
    content = yaml.safe_load(administrator.read_text(encoding="utf-8"))
    context = content["contexts"][0]
    context["context"] |= {"user": user, "namespace": namespace}
    content["users"] = [{"name": user, "user": {"token": token}}]
    return write_private(path, yaml.safe_dump(content, sort_keys=False))


def _decoded(answer: BaseHTTPResponse) -> Object:
    content = dict(json.loads(answer.data))
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise Refused(answer.status, content.get("message", ""))
    return content
