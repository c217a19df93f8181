"""An API server in memory, with the interface and the errors of kube/client.py, for tests of what calls it.

Without defaults, validation, rights, quotas, controllers and garbage collection: those belong to the cluster tests.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

from customer_operator.errors import AlreadyExists, ClusterError, Conflict
from customer_operator.kube.kinds import path_of
from customer_operator.naming import Manifest
from tests.support import patches

_SERVERS_OWN = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp")
_TIME = "2026-01-01T00:00:00Z"  # of every creation and deletion

Key = tuple[str, str | None, str]  # kind, namespace, name


@dataclass(frozen=True, slots=True)
class Call:
    """One request; a list has no name."""

    verb: str
    kind: str
    name: str
    namespace: str | None = None
    subresource: str = ""


class FakeKube:
    """Objects by kind, namespace and name. All requests are in `calls`; `before` sees each first, and may raise."""

    def __init__(self, *objects: Manifest) -> None:
        """Begin with objects that others have made (see `put`)."""
        self.calls: list[Call] = []
        self.before: Callable[[Call], object] = lambda call: None
        self._objects: dict[Key, Manifest] = {}
        self._applied: dict[tuple[Key, str], Manifest] = {}
        self._versions = count(1)
        for item in objects:
            self.put(item)

    # -- for the tests, without a request ----------------------------------------------------------------------------

    def put(self, manifest: Manifest) -> Manifest:
        """Write an object whole as somebody else would, status and metadata as they are given; return the live one."""
        old = self._objects.get(_key(manifest), {"metadata": {"uid": f"uid-{next(self._versions)}", "generation": 1}})
        kept = {field: value for field, value in old["metadata"].items() if field in _SERVERS_OWN}
        metadata = {"creationTimestamp": _TIME, **kept, **_copy(manifest["metadata"])}
        metadata["resourceVersion"] = str(next(self._versions))
        self._objects[_key(manifest)] = {**_copy(manifest), "metadata": metadata}
        return _copy(self._objects[_key(manifest)])

    def find(self, kind: str, name: str, *, namespace: str | None = None) -> Manifest | None:
        """Return an object as it is, or None."""
        live = self._objects.get((kind, namespace, name))
        return _copy(live) if live else None

    def all(self, kind: str) -> list[Manifest]:
        """Return all objects of a kind as they are."""
        return [_copy(live) for key, live in self._objects.items() if key[0] == kind]

    def remove(self, kind: str, name: str, *, namespace: str | None = None) -> None:
        """Let an object be gone, whatever its finalizers; a namespace takes along what is in it."""
        inside = [key for key in self._objects if kind == "Namespace" and key[1] == name]
        for gone in ((kind, namespace, name), *inside):
            self._objects.pop(gone, None)
            self._applied = {owned: value for owned, value in self._applied.items() if owned[0] != gone}

    def fail(self, verb: str, error: Exception, *, kind: str = "", name: str = "", times: int = 1) -> None:
        """Answer the next `times` such requests with the error, in place of doing them."""
        former, tries = self.before, iter(range(times))

        def before(call: Call) -> None:
            if call.verb == verb and kind in ("", call.kind) and name in ("", call.name) and next(tries, -1) >= 0:
                raise error
            former(call)

        self.before = before

    @property
    def writes(self) -> list[Call]:
        """The requests that were to change something."""
        return [call for call in self.calls if call.verb not in ("get", "list")]

    # -- the client's interface --------------------------------------------------------------------------------------

    async def get(self, kind: str, name: str, *, namespace: str | None = None) -> Manifest | None:
        """Return a live object, or None when there is none."""
        live = await self._request("get", (kind, namespace, name))
        return _copy(live) if live else None

    async def apply(self, manifest: Manifest, *, subresource: str = "") -> Manifest:
        """Apply by force, always as the same manager."""
        key, owned = _key(manifest), (_key(manifest), subresource)
        live = await self._request("apply", key, subresource=subresource)
        if live is None and subresource:
            raise _not_found(key)
        _check(live, manifest["metadata"], key)
        wanted = {"status": manifest.get("status", {})} if subresource else _writable(manifest)
        result = patches.applied(live or {}, former=self._applied.get(owned, {}), wanted=wanted)
        stored = self._store(key, result)
        self._applied[owned] = _copy(wanted)
        return stored

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; AlreadyExists when there is one."""
        if await self._request("create", _key(manifest)):
            raise AlreadyExists(f"{manifest['kind']} {manifest['metadata']['name']}: 409 already exists", status=409)
        return self._store(_key(manifest), _writable(manifest))

    async def merge(self, live: Manifest, patch: Manifest) -> Manifest:
        """Merge a patch into all of an object but its status."""
        present = await self._existing("merge", _key(live), patch.get("metadata", {}))
        return self._store(_key(live), patches.merged(present, _writable(patch)))

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace all of an object but its status; Conflict when it is not at the manifest's resourceVersion."""
        present = await self._existing("replace", _key(manifest), manifest["metadata"])
        status = {"status": present["status"]} if "status" in present else {}
        return self._store(_key(manifest), {**_writable(manifest), **status})

    async def delete(self, kind: str, name: str, *, uid: str, namespace: str | None = None) -> bool:
        """Delete the object with this uid; a namespace, or what has finalizers, is only marked (see `remove`)."""
        live = await self._request("delete", (kind, namespace, name))
        if live is None:
            return False
        _check(live, {"uid": uid}, (kind, namespace, name))
        if kind == "Namespace":
            self.put({**live, "status": {"phase": "Terminating"}, "metadata": _marked(live)})
        elif live["metadata"].get("finalizers"):
            self.put({**live, "metadata": _marked(live)})
        else:
            self.remove(kind, name, namespace=namespace)
        return True

    async def list(
        self, kind: str, *, namespace: str | None = None, selector: Mapping[str, str] | None = None
    ) -> list[Manifest]:
        """Return all objects of a kind, in a namespace or everywhere, that carry the labels."""
        await self._request("list", (kind, namespace, ""))
        wanted = (selector or {}).items()
        found = [item for key, item in self._objects.items() if key[0] == kind and namespace in (None, key[1])]
        return [_copy(item) for item in found if wanted <= (item["metadata"].get("labels") or {}).items()]

    async def _request(self, verb: str, key: Key, *, subresource: str = "") -> Manifest | None:
        kind, namespace, name = key
        if verb != "list":
            path_of(kind, namespace=namespace)  # refuses unknown kinds, and namespaces where they do not belong
        call = Call(verb, kind, name, namespace, subresource)
        self.calls.append(call)
        await asyncio.sleep(0)  # others may come between, as with a real request
        self.before(call)
        return self._objects.get(key)

    async def _existing(self, verb: str, key: Key, metadata: Manifest) -> Manifest:
        live = await self._request(verb, key)
        if live is None:
            raise _not_found(key)
        _check(live, metadata, key)
        return live

    def _store(self, key: Key, wanted: Manifest) -> Manifest:
        kind, namespace, name = key
        old = self._objects.get(key)
        if old is None:
            self._admit_into(namespace)
            return self.put(wanted)
        own = {field: value for field, value in old["metadata"].items() if field in _SERVERS_OWN}
        new = {**wanted, "metadata": {**wanted["metadata"], **own}}
        if new == old:
            return _copy(old)
        new["metadata"]["generation"] += new.get("spec") != old.get("spec")
        live = self.put(new)
        if "deletionTimestamp" in own and not live["metadata"].get("finalizers") and kind != "Namespace":
            self.remove(kind, name, namespace=namespace)
        return live

    def _admit_into(self, namespace: str | None) -> None:
        home = self._objects.get(("Namespace", None, namespace or ""))
        if namespace is not None and home is None:
            raise _not_found(("Namespace", None, namespace))
        if home is not None and "deletionTimestamp" in home["metadata"]:
            raise ClusterError(f"403 forbidden: namespace {namespace} is being terminated", status=403)


def _key(manifest: Manifest) -> Key:
    return manifest["kind"], manifest["metadata"].get("namespace"), manifest["metadata"]["name"]


def _copy(value: Manifest) -> Manifest:
    return dict(json.loads(json.dumps(value)))  # as JSON, which is what reaches a real server


def _writable(manifest: Manifest) -> Manifest:
    """Return what may be written beside the status."""
    metadata = {key: value for key, value in manifest.get("metadata", {}).items() if key not in _SERVERS_OWN}
    return _copy({**{key: value for key, value in manifest.items() if key != "status"}, "metadata": metadata})


def _marked(live: Manifest) -> Manifest:
    return {"deletionTimestamp": _TIME, **live["metadata"]}


def _check(live: Manifest | None, given: Manifest, key: Key) -> None:
    """Raise Conflict when the request names another uid or version of the object than there is."""
    present = live["metadata"] if live else {}
    for field in ("uid", "resourceVersion"):
        if field in given and given[field] != present.get(field):
            raise Conflict(f"{path_of(key[0], namespace=key[1], name=key[2])}: 409 another {field}", status=409)


def _not_found(key: Key) -> ClusterError:
    return ClusterError(f"{path_of(key[0], namespace=key[1], name=key[2])}: 404 not found", status=404)
