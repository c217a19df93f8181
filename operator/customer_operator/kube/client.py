"""The only module that talks to Kubernetes: one verb to write, few to read; errors are converted here."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException

from customer_operator import naming
from customer_operator.errors import (
    AdmissionRefused,
    AlreadyExists,
    ClusterError,
    ClusterUnreachable,
    Conflict,
    PermissionMissing,
)
from customer_operator.metrics import Metrics
from customer_operator.naming import Manifest

# Every kind the operator handles, and its REST path: (API prefix, plural, in a namespace).
KINDS: Mapping[str, tuple[str, str, bool]] = {
    naming.KIND: (f"/apis/{naming.API_VERSION}", naming.PLURAL, False),
    "Namespace": ("/api/v1", "namespaces", False),
    "ConfigMap": ("/api/v1", "configmaps", True),
    "LimitRange": ("/api/v1", "limitranges", True),
    "ResourceQuota": ("/api/v1", "resourcequotas", True),
    "Secret": ("/api/v1", "secrets", True),
    "Service": ("/api/v1", "services", True),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
    "Deployment": ("/apis/apps/v1", "deployments", True),
    "StatefulSet": ("/apis/apps/v1", "statefulsets", True),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses", True),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies", True),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets", True),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings", True),
}

P = ParamSpec("P")
T = TypeVar("T")

_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_MERGE = "application/merge-patch+json"
_JSON = "application/json"
_TIMEOUT = aiohttp.ClientTimeout(total=30)  # seconds; the API server's own limit is 60
_LIST_CHUNK = 500
# Seconds after an outage in which an API server that has just started may refuse everything: it answers before its
# authorizer has read the roles.
_WAKING = 10.0
# Reasons of a metav1.Status (k8s.io/apimachinery, types.go); none is given by a proxy in front of the API server.
_CANNOT_WORK_NOW = frozenset({"ServiceUnavailable", "TooManyRequests", "ServerTimeout", "Timeout", ""})


class KubeClient:
    """Access to the API server with the operator's own rights."""

    def __init__(self, client: ApiClient, *, metrics: Metrics) -> None:
        """Take a configured client, and the metrics that count its requests."""
        self._client = client
        self._metrics = metrics
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
        query = {
            "labelSelector": ",".join(f"{key}={value}" for key, value in selector.items()),
            "limit": str(_LIST_CHUNK),
        }
        items: list[Manifest] = []
        while True:
            page = await self.request("GET", path_of(kind, namespace=namespace), query=query)
            prefix = KINDS[kind][0]
            api_version = prefix.removeprefix("/apis/").removeprefix("/api/")
            items += [{**item, "apiVersion": api_version, "kind": kind} for item in page["items"]]
            if not (token := page["metadata"].get("continue")):
                return items
            query["continue"] = token

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
        PermissionMissing and AdmissionRefused for what they say, ClusterError for every other refusal.
        """
        url = f"{self._client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": _JSON, "Content-Type": content_type, "User-Agent": naming.FIELD_MANAGER}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        try:
            answer = await self._client.call_api(method, url, headers, body, _request_timeout=_TIMEOUT)
            data = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._metrics.request(method, "unreachable")
            self._away_at = time.monotonic()
            raise ClusterUnreachable(f"{method} {path}: no answer ({type(error).__name__})") from error
        self._metrics.request(method, str(answer.status))
        if answer.status < 300:
            return dict(json.loads(data))
        raise self._in_context(convert(answer.status, data, what=f"{method} {path}"))

    def _in_context(self, error: ClusterError) -> ClusterError:
        """Return the error as it is to be taken: just after an outage a missing right is part of it."""
        if isinstance(error, ClusterUnreachable):
            self._away_at = time.monotonic()
        elif isinstance(error, PermissionMissing) and time.monotonic() - self._away_at < _WAKING:
            return ClusterUnreachable(f"the API server has just come back: {error}", status=error.status)
        return error

    async def _optional(self, method: str, path: str, *, body: Manifest | None = None) -> Manifest | None:
        try:
            return await self.request(method, path, body=body)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    @property
    def client(self) -> ApiClient:
        """Return the underlying client, for the library's leader election."""
        return self._client


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


def path_of(kind: str, *, namespace: str | None = None, name: str | None = None) -> str:
    """Return the REST path of an object, or of all objects of a kind."""
    prefix, plural, namespaced = KINDS[kind]
    if namespaced != (namespace is not None):
        raise ValueError(f"{kind} {'needs a' if namespaced else 'has no'} namespace")
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{prefix}{scope}/{plural}" + (f"/{name}" if name else "")


def convert(status: int, data: bytes, *, what: str) -> ClusterError:
    """Return the error that an answer of the API server stands for (a metav1.Status, or anything a proxy may send)."""
    try:
        answer = json.loads(data)
        message, reason = str(answer.get("message", "")), str(answer.get("reason", ""))
    except (ValueError, AttributeError):
        message, reason = "", ""
    text = f"{what}: {status} {message or reason or 'no reason given'}"
    match status:
        case 403 if reason == "Forbidden" and "cannot" in message and "User " in message:
            return PermissionMissing(text, status=status)
        case 409 if reason == "AlreadyExists":
            return AlreadyExists(text, status=status)
        case 409:
            return Conflict(text, status=status)
        case 400 | 422:
            return AdmissionRefused(text, status=status)
        case 429 | 500 | 502 | 503 | 504 if reason in _CANNOT_WORK_NOW:
            return ClusterUnreachable(text, status=status)
        case _:
            return ClusterError(text, status=status)


@asynccontextmanager
async def connect(*, kubeconfig: Path | None, metrics: Metrics) -> AsyncIterator[KubeClient]:
    """Open the connection of a pod's ServiceAccount, or of a kubeconfig file when one is given."""
    configuration = await load_configuration(kubeconfig)
    # The client would look for proxies in the environment, and for passwords in ~/.netrc, at every single request.
    configuration.client_session_kwargs = {"trust_env": False}
    client = ApiClient(configuration)
    try:
        yield KubeClient(client, metrics=metrics)
    finally:
        await client.close()


async def load_configuration(kubeconfig: Path | None) -> Configuration:
    """Return the client's configuration: the given file, else the pod's ServiceAccount, else the user's default."""
    configuration = Configuration()
    if kubeconfig is not None:
        await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        return configuration
    try:
        config.load_incluster_config(client_configuration=configuration)
    except ConfigException:
        await config.load_kube_config(client_configuration=configuration)
    return configuration
