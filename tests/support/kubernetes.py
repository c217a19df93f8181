"""The API server for tests: objects by kind and name, and waiting by watch."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import yaml
from urllib3.exceptions import ProtocolError
from urllib3.exceptions import TimeoutError as NoAnswer

from customer_operator import naming
from customer_operator.kube.kinds import KINDS
from customer_operator.naming import Manifest
from hack.cluster.client import APPLY, JSON_PATCH, MERGE_PATCH, Client
from hack.errors import Refused as Refused
from tests.support.clusters import ControlPlane

Condition = Callable[[Manifest | None], object]  # given the object, None when there is none; true when awaited

# Seconds; generous, because a test waits no longer than it has to.
PATIENCE = 60.0
MANAGER = "test"

_PATHS: Mapping[str, tuple[str, str, bool]] = {
    **{kind: (entry.prefix, entry.plural, entry.namespaced) for kind, entry in KINDS.items()},
    "ConfigMap": ("/api/v1", "configmaps", True),
    "CertificateRequest": ("/apis/cert-manager.io/v1", "certificaterequests", True),
    "ClusterIssuer": ("/apis/cert-manager.io/v1", "clusterissuers", False),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "Event": ("/api/v1", "events", True),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases", True),
    "ReplicaSet": ("/apis/apps/v1", "replicasets", True),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles", True),
    "SelfSubjectRulesReview": ("/apis/authorization.k8s.io/v1", "selfsubjectrulesreviews", False),
}


class Kubernetes(Client):
    """One user's access to the API server."""

    def get(self, kind: str, name: str, *, namespace: str | None = None) -> Manifest:
        """Return an object; Refused (404) when there is none."""
        return self.send("GET", _path(kind, namespace, name))

    def find(self, kind: str, name: str, *, namespace: str | None = None) -> Manifest | None:
        """Return an object, None when there is none."""
        try:
            return self.get(kind, name, namespace=namespace)
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def items(self, kind: str, *, namespace: str | None = None, labels: str = "") -> list[Manifest]:
        """Return all objects of a kind that carry the labels, written as a selector."""
        answer = self.send("GET", _path(kind, namespace), params={"labelSelector": labels})
        return [{"kind": kind, **item} for item in answer["items"]]

    def apply(self, manifest: Manifest, *, subresource: str = "", **params: str) -> Manifest:
        """Server-side apply an object with strict field validation, by force."""
        metadata = manifest["metadata"]
        return self.send(
            "PATCH",
            _path(manifest["kind"], metadata.get("namespace"), metadata["name"], subresource),
            body=manifest,
            media_type=APPLY,
            params={"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict", **params},
        )

    def create(self, manifest: Manifest, **params: str) -> Manifest:
        """Create an object with strict field validation."""
        path = _path(manifest["kind"], manifest["metadata"].get("namespace"))
        return self.send("POST", path, body=manifest, params={"fieldValidation": "Strict", **params})

    def patch(self, kind: str, name: str, patch: Manifest, *, namespace: str | None = None, **params: str) -> Manifest:
        """Merge a patch into an object, as a person with `kubectl patch --type merge` would."""
        return self._patch(kind, name, patch, namespace, media_type=MERGE_PATCH, **params)

    def post(self, kind: str, name: str, subresource: str, *, namespace: str, body: Manifest | None = None) -> Manifest:
        """Ask something of an object, such as exec of a Pod, or a token of a ServiceAccount."""
        return self.send("POST", _path(kind, namespace, name, subresource), body=body)

    def edit(self, kind: str, name: str, *operations: Manifest, namespace: str | None = None) -> Manifest:
        """Change an object by JSON patch operations (RFC 6902)."""
        return self._patch(kind, name, operations, namespace, media_type=JSON_PATCH)

    def delete(self, kind: str, name: str, *, namespace: str | None = None, **params: str) -> None:
        """Ask for an object's deletion; the end of it is not awaited."""
        self.send("DELETE", _path(kind, namespace, name), params=params)

    def wait_for(
        self,
        kind: str,
        name: str,
        condition: Condition,
        *,
        namespace: str | None = None,
        timeout: float = PATIENCE,
    ) -> Manifest:
        """Return the object, as soon as the condition holds of it; {} when it is absence that was awaited.

        Raises AssertionError with what was there last when it does not hold in time.
        """
        *_, last = self.follow(kind, name, condition, namespace=namespace, timeout=timeout)
        return last or {}

    def follow(
        self,
        kind: str,
        name: str,
        condition: Condition,
        *,
        namespace: str | None = None,
        since: str | None = None,
        timeout: float = PATIENCE,
    ) -> list[Manifest | None]:
        """Return every version of an object until the condition holds, that one included.

        They begin with the one that is there now, or with the first after a resource version (see `version`).
        """
        seen: list[Manifest | None] = []
        path, deadline = _path(kind, namespace), time.monotonic() + timeout
        try:
            for version in self._versions(path, name, since, deadline=deadline):
                seen.append(version)
                if condition(version):
                    return seen
        except TimeoutError as error:
            raise AssertionError(f"waited {timeout:g} s for {kind} {name}; it is now\n{_shown(seen)}") from error
        raise AssertionError("a watch has no end")

    def version(self, kind: str, *, namespace: str | None = None) -> str:
        """Return the resource version of a kind's list as it is now."""
        return str(self.send("GET", _path(kind, namespace), params={"limit": "1"})["metadata"]["resourceVersion"])

    def _versions(self, path: str, name: str, since: str | None, *, deadline: float) -> Iterator[Manifest | None]:
        """Yield an object as it is and then its changes; when the watch breaks off, another one is begun."""
        only = {"fieldSelector": f"metadata.name={name}"}
        while True:
            if since is None:
                answer = self.send("GET", path, params=only, timeout=_until(deadline))
                yield next(iter(answer["items"]), None)
                since = str(answer["metadata"]["resourceVersion"])
            with suppress(ProtocolError, Refused):
                yield from self._changes(path, only, since, deadline)
            since = None

    def _changes(self, path: str, only: Mapping[str, str], version: str, deadline: float) -> Iterator[Manifest | None]:
        params = {**only, "resourceVersion": version}
        try:
            for kind, item in self.events(path, params=params, timeout=_until(deadline)):
                _until(deadline)
                if kind == "ERROR":
                    return
                yield None if kind == "DELETED" else item
        except NoAnswer as error:
            raise TimeoutError from error

    def _patch(
        self, kind: str, name: str, body: Any, namespace: str | None, *, media_type: str, **rest: str
    ) -> Manifest:
        params = {"fieldManager": MANAGER, "fieldValidation": "Strict", **rest}
        return self.send("PATCH", _path(kind, namespace, name), body=body, media_type=media_type, params=params)


def administrator(cluster: ControlPlane) -> Kubernetes:
    """Return the administrator's access."""
    return Kubernetes(cluster.kubeconfig)


def omnipotent(cluster: ControlPlane, user: str) -> Kubernetes:
    """Return access under a user's name that no role bounds: what is refused is refused by admission."""
    headers = {"Impersonate-User": user, "Impersonate-Group": "system:masters"}
    return Kubernetes(cluster.kubeconfig, headers=headers)


def condition_of(resource: Manifest | None, kind: str) -> Manifest:
    """Return a condition of an object's status; {} when it has none of that type."""
    conditions = ((resource or {}).get("status") or {}).get("conditions") or ()
    return next((dict(item) for item in conditions if item["type"] == kind), {})


def is_ready(resource: Manifest | None) -> bool:
    """Tell whether an instance is Ready, its latest spec included."""
    ready = condition_of(resource, "Ready")
    return ready.get("status") == "True" and ready["observedGeneration"] == (resource or {})["metadata"]["generation"]


def in_phase(phase: str) -> Condition:
    """Return the condition that an instance's latest spec has been looked at and its phase is this one."""

    def holds(resource: Manifest | None) -> bool:
        status = (resource or {}).get("status") or {}
        current = status.get("observedGeneration") == (resource or {"metadata": {}})["metadata"].get("generation")
        return bool(current and status.get("phase") == phase)

    return holds


def is_there(resource: Manifest | None) -> bool:
    """Tell that there is such an object."""
    return resource is not None


def is_gone(resource: Manifest | None) -> bool:
    """Tell that there is no such object."""
    return resource is None


def order(name: str, **spec: Any) -> Manifest:
    """Return a CustomerInstance as somebody would order it; keyword arguments are fields of spec."""
    customer = {"id": f"cust-{name}", "email": f"ops@{name}.example", "companyName": f"{name} Ltd"}
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": {"name": name},
        "spec": {"customer": customer, **spec},
    }


def _path(kind: str, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
    prefix, plural, _ = _PATHS[kind]
    scope = f"/namespaces/{namespace}" if namespace else ""
    return "/".join(part for part in (f"{prefix}{scope}", plural, name, subresource) if part)


def _until(deadline: float) -> float:
    """Return the seconds that are left; TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _shown(seen: list[Manifest | None]) -> str:
    last = seen[-1] if seen else None
    if last is None:
        return "absent"
    metadata = {key: value for key, value in last["metadata"].items() if key != "managedFields"}
    return yaml.safe_dump({**last, "metadata": metadata}, sort_keys=False)
