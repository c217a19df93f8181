"""What the operator knows of the cluster: instances and their children, as scalars, fed by watch events and answers.

The mirror never answers "what does the object say", only "is it still what we verified, and is it ready": enough to
leave a steady instance alone without one request, and small enough for thousands of instances.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from customer_operator import naming
from customer_operator.naming import Manifest
from customer_operator.observed import drift, readiness
from customer_operator.observed.readiness import Readiness


class Key(NamedTuple):
    """Identifies a child within its instance."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Child:
    """One live object: `content` is its content_hash now, `verified` the content_hash when it was last found right."""

    version: int
    component: str
    applied_hash: str | None
    content: str
    verified: str | None
    readiness: Readiness
    node_ports: tuple[tuple[str, int], ...] = ()
    hard: tuple[tuple[str, str], ...] = ()
    enforced: bool = False
    terminating: str | None = None


def key_of(manifest: Mapping[str, Any]) -> Key:
    """Return the key of a desired or live object."""
    return Key(manifest["kind"], manifest["metadata"]["name"])


def read(live: Mapping[str, Any], *, verified: bool, previous: Child | None = None) -> Child:
    """Boil a live object down; `verified` says that it was just applied or compared in full."""
    content = drift.content_hash(live)
    metadata = live["metadata"]
    return Child(
        version=version_of(live),
        component=(metadata.get("labels") or {}).get(naming.COMPONENT_LABEL, ""),
        applied_hash=drift.applied_hash(live),
        content=content,
        verified=content if verified else (previous.verified if previous else None),
        readiness=readiness.of(live),
        node_ports=readiness.node_ports(live),
        hard=tuple(live["spec"]["hard"].items()) if live["kind"] == "ResourceQuota" else (),
        enforced=live["kind"] == "ResourceQuota" and readiness.quota_enforced(live),
        terminating=readiness.terminating(live),
    )


def version_of(live: Mapping[str, Any]) -> int:
    """Return the resource version as a number: versions of one object order by it (KEP-5504)."""
    return int(live["metadata"]["resourceVersion"])


class Inventory:
    """Instances by name, and each instance's children."""

    def __init__(self) -> None:
        """Start empty; watches and answers fill it."""
        self._instances: dict[str, dict[str, Any]] = {}
        self._children: dict[str, dict[Key, Child]] = {}
        self._listed: set[str] = set()

    # -- instances ---------------------------------------------------------------------------------------------------

    def names(self) -> Iterable[str]:
        """Return the names of all known instances."""
        return tuple(self._instances)

    def instance(self, name: str) -> dict[str, Any] | None:
        """Return the resource as last seen, without managed fields; None when it is gone."""
        return self._instances.get(name)

    def store_instance(self, body: Mapping[str, Any]) -> bool:
        """Remember a resource; False when a newer one is known already."""
        name = body["metadata"]["name"]
        known = self._instances.get(name)
        if (
            known is not None
            and known["metadata"]["uid"] == body["metadata"]["uid"]
            and version_of(known) >= version_of(body)
        ):
            return False
        metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
        self._instances[name] = {**body, "metadata": metadata}
        return True

    def forget_instance(self, name: str) -> None:
        """Drop a resource that is gone, with all that was known of its children."""
        self._instances.pop(name, None)
        self._children.pop(name, None)
        self._listed.discard(name)

    # -- children ----------------------------------------------------------------------------------------------------

    def children(self, name: str) -> Mapping[Key, Child]:
        """Return the known children of an instance."""
        return self._children.get(name, {})

    def child(self, name: str, key: Key) -> Child | None:
        """Return one child; None when it is not known to exist."""
        return self._children.get(name, {}).get(key)

    def observe(self, name: str, live: Mapping[str, Any]) -> bool:
        """Take in a child from a watch; True when it changed in a way that a reconcile should look at."""
        children, key = self._children.setdefault(name, {}), key_of(live)
        known = children.get(key)
        if known is not None and known.version >= version_of(live):
            return False
        children[key] = child = read(live, verified=False, previous=known)
        return known is None or replace(child, version=known.version) != known

    def vanish(self, name: str, live: Mapping[str, Any]) -> bool:
        """Take in a deletion; False when a newer object of that name is known already."""
        children, key = self._children.get(name, {}), key_of(live)
        known = children.get(key)
        if known is None or known.version > version_of(live):
            return False
        del children[key]
        if key.kind == "Namespace":
            # Everything in it has gone with it, what is not watched included.
            children.clear()
            self.expire(name)
        return True

    def record(self, name: str, live: Mapping[str, Any], *, verified: bool) -> None:
        """Take in a child from an answer to our own apply or list, unless the watch has been faster.

        Not `verified` means: compared, and found wrong. The content_hash leaves out what a full comparison sees.
        """
        children, key = self._children.setdefault(name, {}), key_of(live)
        known = children.get(key)
        if known is not None and known.version > version_of(live):
            # The watch is ahead: keep its reading, but remember what content has been found right.
            children[key] = replace(known, verified=drift.content_hash(live) if verified else None)
            return
        children[key] = read(live, verified=verified)

    def remove(self, name: str, key: Key) -> None:
        """Forget a child that an answer says does not exist."""
        self._children.get(name, {}).pop(key, None)

    def retain(self, name: str, keys: Collection[Key]) -> None:
        """Forget all children but these: a full listing has shown what exists."""
        children = self._children.get(name, {})
        for key in [key for key in children if key not in keys]:
            del children[key]

    def needs_apply(self, name: str, desired: Manifest) -> bool:
        """Tell whether the child must be applied, judging by what has been verified of it."""
        known = self.child(name, key_of(desired))
        return (
            known is None
            or known.verified is None
            or known.content != known.verified
            or known.applied_hash != drift.applied_hash(desired)
        )

    # -- full listings -----------------------------------------------------------------------------------------------

    def is_listed(self, name: str) -> bool:
        """Tell whether all children have been compared in full since the start or the last `expire`."""
        return name in self._listed

    def mark_listed(self, name: str) -> None:
        """Remember that all children have been compared in full."""
        self._listed.add(name)

    def expire(self, name: str) -> None:
        """Ask for a full comparison at the next pass: kinds that are not watched may have drifted unseen."""
        self._listed.discard(name)

    def expire_all(self) -> None:
        """Ask for a full comparison of every instance: somebody else may have been working."""
        self._listed.clear()
