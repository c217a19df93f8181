"""The few requests the tooling itself sends: health of every component, nodes and storage class to the API server."""

import http.client
import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hack.errors import ClusterError

REQUEST_TIMEOUT = 2.0
HEALTH_CLIENTS = {"etcd": ("etcd-ca", "etcd-client")}


class Client:
    """An HTTPS client for one server, authenticated by one of the certificates of `pki`."""

    def __init__(self, endpoint: str, *, pki: Path, authority: str = "ca", certificate: str = "admin") -> None:
        address = urlsplit(endpoint)
        self._host, self._port = str(address.hostname), int(address.port or 443)
        self._context = ssl.create_default_context(cafile=str(pki / f"{authority}.crt"))
        self._context.load_cert_chain(pki / f"{certificate}.crt", pki / f"{certificate}.key")

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body; raises OSError or http.client.HTTPException when there is no answer."""
        return self._request("GET", path)

    def read(self, path: str) -> dict[str, Any]:
        """Return the object or list at `path`; raises ClusterError when it is refused, also OSError as `get` does."""
        return _decoded(path, *self.get(path), accepted={http.HTTPStatus.OK})

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object and return the answer; one that exists already is left alone.

        Raises ClusterError when it is refused.
        """
        status, answer = self._request("POST", path, json.dumps(body).encode())
        return _decoded(path, status, answer, accepted={http.HTTPStatus.CREATED, http.HTTPStatus.CONFLICT})

    def _request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._context, timeout=REQUEST_TIMEOUT)
        try:
            connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def _decoded(path: str, status: int, body: bytes, *, accepted: set[http.HTTPStatus]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(body)
    if status not in accepted:
        raise ClusterError(f"the API server refused {path}: {status} {content.get('message', '')}")
    return content


def is_healthy(name: str, *, endpoint: str, health_path: str, pki: Path) -> bool:
    """Ask the component `name` for its health; no answer within REQUEST_TIMEOUT means no."""
    authority, certificate = HEALTH_CLIENTS.get(name, ("ca", "admin"))
    try:
        client = Client(endpoint, pki=pki, authority=authority, certificate=certificate)
        status, _ = client.get(health_path)
    except (OSError, http.client.HTTPException):
        return False
    return status == http.HTTPStatus.OK
