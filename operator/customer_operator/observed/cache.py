"""The object cache: what the operator knows of instances and their objects, fed by watches and by answers.

It never answers "what does the object say", only "is it still what was found right, and is it ready": enough to leave a
steady instance alone without one request, and small enough for thousands of instances. A live object is kept whole
(packed) only until it has been compared with what is desired.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from customer_operator.model import hostnames
from customer_operator.model.hostnames import Claim
from customer_operator.naming import Manifest
from customer_operator.observed import certificates, drift, packing, readiness
from customer_operator.observed.certificates import IssuedCertificate
from customer_operator.observed.readiness import Readiness


class Key(NamedTuple):
    """Identifies an object within its instance."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class CachedObject:
    """One live object: `content_hash` is that of its content now, `verified_hash` that of when it was last found right.

    `live` is the packed object while the two differ. `hosts` are those an Ingress serves, `endpoint` is where
    the front door reaches a broker. `certificate` is what a Certificate has brought or a broker mounts, `requested` the
    name of the Certificate that a broker has been given. `hard` are a quota's amounts,
    `enforced` whether they are in force, `terminating` why a namespace that is being deleted still exists.
    """

    uid: str
    version: int
    applied_hash: str | None
    content_hash: str
    verified_hash: str | None
    readiness: Readiness
    node_ports: tuple[tuple[str, int], ...] = ()
    hosts: tuple[str, ...] = ()
    endpoint: tuple[str, int] | None = None
    certificate: IssuedCertificate | None = None
    requested: str | None = None
    hard: tuple[tuple[str, str], ...] = ()
    enforced: bool = False
    terminating: str | None = None
    live: bytes | None = None


@dataclass(frozen=True, slots=True)
class CachedInstance:
    """One resource: what the queue and other instances ask of it, and the whole of it, packed."""

    uid: str
    version: int
    hostname: str | None
    created_at: datetime
    packed: bytes


def key_of(manifest: Mapping[str, Any]) -> Key:
    """Return the key of a desired or live object."""
    return Key(manifest["kind"], manifest["metadata"]["name"])


def hostname_of(body: Mapping[str, Any]) -> str | None:
    """Return the hostname a resource asks for, as names are compared; None for none, and for what is no name."""
    try:
        return hostnames.canonical((body.get("spec") or {})["hostname"])
    except (KeyError, ValueError, AttributeError):
        return None


def _intent(body: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what others say by a resource: its spec, by the generation, its deletion, and its annotations."""
    metadata = body["metadata"]
    return tuple(metadata.get(key) or None for key in ("uid", "generation", "deletionTimestamp", "annotations"))


def version_of(live: Mapping[str, Any]) -> int:
    """Return the resource version as a number: versions of one object order by it (KEP-5504)."""
    return int(live["metadata"]["resourceVersion"])


def read(live: Mapping[str, Any], *, verified_hash: str | None, content_hash: str | None = None) -> CachedObject:
    """Boil a live object down; `verified_hash` is that of the content last found right, if any was.

    `content_hash` is that of the live object's content, where the caller has it already.
    """
    content_hash = content_hash or drift.content_hash(live)
    quota = live["kind"] == "ResourceQuota"
    return CachedObject(
        uid=live["metadata"]["uid"],
        version=version_of(live),
        applied_hash=drift.applied_hash(live),
        content_hash=content_hash,
        verified_hash=verified_hash,
        readiness=readiness.of(live),
        node_ports=readiness.node_ports(live),
        hosts=readiness.hosts(live),
        endpoint=readiness.device_endpoint(live),
        certificate=certificates.of(live),
        requested=certificates.requested(live),
        hard=tuple(readiness.hard_of(live).items()) if quota else (),
        enforced=quota and readiness.quota_enforced(live),
        terminating=readiness.terminating(live),
        live=None if content_hash == verified_hash else packing.pack(drift.without_bookkeeping(live)),
    )


def is_in_sync(known: CachedObject | None, desired: Manifest) -> bool:
    """Tell whether an object has been found right, and has been applied from this very manifest."""
    return (
        known is not None
        and known.content_hash == known.verified_hash
        and known.applied_hash == drift.applied_hash(desired)
    )


class ObjectCache:
    """Instances by name, and each instance's objects, whether the instance exists or has left them behind."""

    def __init__(self) -> None:
        """Start empty; watches and answers fill it."""
        self._instances: dict[str, CachedInstance] = {}
        self._objects: dict[str, dict[Key, CachedObject]] = {}
        self._compared: set[str] = set()

    # -- instances ---------------------------------------------------------------------------------------------------

    def names(self) -> Iterable[str]:
        """Return the names of all known instances."""
        return tuple(self._instances)

    def instance(self, name: str) -> Manifest | None:
        """Return the resource as last seen, without managed fields; None when it is gone."""
        known = self._instances.get(name)
        return packing.unpack(known.packed) if known else None

    def uid_of(self, name: str) -> str | None:
        """Return the uid of the resource as last seen; None when it is gone."""
        known = self._instances.get(name)
        return known.uid if known else None

    def claims(self, hostname: str) -> dict[str, Claim]:
        """Return the claims, by name, of all instances that ask for a hostname, written as names are compared."""
        return {
            name: Claim(waits=not self._serves(name, hostname), created_at=known.created_at, uid=known.uid)
            for name, known in self._instances.items()
            if known.hostname == hostname
        }

    def _serves(self, name: str, hostname: str) -> bool:
        return any(hostname in known.hosts for known in self.objects(name).values())

    def hostname(self, name: str) -> str | None:
        """Return the hostname that an instance asks for, if any."""
        known = self._instances.get(name)
        return known.hostname if known else None

    def upsert_instance(self, body: Mapping[str, Any]) -> bool:
        """Remember a resource; False when a newer one is known already."""
        metadata = body["metadata"]
        known = self._instances.get(metadata["name"])
        if known is not None and known.version >= version_of(body):
            return False
        if known is not None and known.uid != metadata["uid"]:
            self.invalidate(metadata["name"])
        self._instances[metadata["name"]] = CachedInstance(
            uid=metadata["uid"],
            version=version_of(body),
            hostname=hostname_of(body),
            created_at=datetime.fromisoformat(metadata["creationTimestamp"]),
            packed=packing.pack(drift.without_managed_fields(body)),
        )
        return True

    def record_instance(self, answer: Mapping[str, Any]) -> None:
        """Take in the answer to a write of our own, unless somebody else has changed or removed the resource meanwhile.

        That has to come by the watch, which queues it: a state that is known already is no news.
        """
        known = self.instance(answer["metadata"]["name"])
        if known is not None and _intent(known) == _intent(answer):
            self.upsert_instance(answer)

    def delete_instance(self, name: str, *, uid: str) -> bool:
        """Drop a resource that is gone; False when another one of that name is known, or none."""
        known = self._instances.get(name)
        if known is None or known.uid != uid:
            return False
        del self._instances[name]
        self._compared.discard(name)
        return True

    def prune_instances(self, *, uids: Collection[str], version: int) -> dict[str, str | None]:
        """Drop the resources that a list of this version did not hold; return their names, each with its hostname."""
        ghosts = {
            name: known for name, known in self._instances.items() if known.uid not in uids and known.version <= version
        }
        for name, known in ghosts.items():
            self.delete_instance(name, uid=known.uid)
        return {name: known.hostname for name, known in ghosts.items()}

    # -- objects -----------------------------------------------------------------------------------------------------

    def objects(self, name: str) -> Mapping[Key, CachedObject]:
        """Return the known objects of an instance."""
        return self._objects.get(name, {})

    def object(self, name: str, key: Key) -> CachedObject | None:
        """Return one object; None when it is not known to exist."""
        return self._objects.get(name, {}).get(key)

    def upsert(self, name: str, live: Mapping[str, Any]) -> bool:
        """Take in an object from a watch; True when it changed in a way that a reconcile should look at."""
        objects, key = self._objects.setdefault(name, {}), key_of(live)
        known = objects.get(key)
        if known is not None and known.version >= version_of(live):
            return False
        same = known is not None and known.uid == live["metadata"]["uid"]
        if not same and drift.is_derived(live):
            return False
        if key.kind == "Namespace" and not same:
            # Another namespace than the one that was listed: what is not watched may not be in it.
            self.invalidate(name)
        objects[key] = seen = read(live, verified_hash=known.verified_hash if known and same else None)
        return known is None or replace(seen, version=known.version, live=known.live) != known

    def delete(self, name: str, live: Mapping[str, Any]) -> bool:
        """Take in that an object is gone, or no longer carries the label.

        False when another one of that name is known, or none.
        """
        objects, key = self._objects.get(name, {}), key_of(live)
        known = objects.get(key)
        if known is None or known.uid != live["metadata"]["uid"] or known.version > version_of(live):
            return False
        self.remove(name, key)
        if key.kind == "Namespace" and live["metadata"].get("deletionTimestamp"):
            self.forget_objects(name)
        return True

    def prune(self, kind: str, *, uids: Collection[str], version: int) -> list[str]:
        """Drop the objects of a kind that a list of this version did not hold; return the instances that had any."""
        affected = []
        for name, objects in tuple(self._objects.items()):
            ghosts = [
                key
                for key, known in objects.items()
                if key.kind == kind and known.uid not in uids and known.version <= version
            ]
            for key in ghosts:
                self.remove(name, key)
            if ghosts and kind == "Namespace":
                self.forget_objects(name, until=version)
            affected += [name] if ghosts else []
        return affected

    def record(self, name: str, live: Mapping[str, Any], *, verified: bool) -> None:
        """Take in an object from an answer to our own apply or list, unless the watch has been faster.

        `verified` says that this content is as it should be.
        """
        objects, key = self._objects.setdefault(name, {}), key_of(live)
        known = objects.get(key)
        content_hash = drift.content_hash(live)
        if known is not None and known.version > version_of(live):
            if verified:
                # The watch is ahead: keep what it saw, but remember what content has been found right.
                unpacked = None if known.content_hash == content_hash else known.live
                objects[key] = replace(known, verified_hash=content_hash, live=unpacked)
            return
        objects[key] = read(live, verified_hash=content_hash if verified else None, content_hash=content_hash)

    def remove(self, name: str, key: Key) -> None:
        """Forget an object that does not exist."""
        objects = self._objects.get(name, {})
        objects.pop(key, None)
        if not objects:
            self._objects.pop(name, None)

    def forget_objects(self, name: str, *, until: int | None = None) -> None:
        """Forget all objects of an instance, of no later version than `until`: they have gone with its namespace.

        No watch tells of the kinds that are not watched.
        """
        for key, known in tuple(self.objects(name).items()):
            if until is None or known.version <= until:
                self.remove(name, key)
        self.invalidate(name)

    def retain(self, name: str, kinds: Collection[str], keys: Collection[Key]) -> None:
        """Forget all objects of these kinds but those listed: a full list has shown what exists."""
        for key in [key for key in self.objects(name) if key.kind in kinds and key not in keys]:
            self.remove(name, key)

    def verify(self, name: str, desired: Manifest) -> None:
        """Compare an object in full with what is desired, if that has not been done since it last changed.

        Right is also what the cluster insists on having (a mutating webhook's doing) after our own last apply: its
        content was recorded as verified then.
        """
        known = self.object(name, key_of(desired))
        if known is not None and known.live is not None and drift.in_sync(packing.unpack(known.live), desired):
            self._objects[name][key_of(desired)] = replace(known, verified_hash=known.content_hash, live=None)

    def needs_apply(self, name: str, desired: Manifest) -> bool:
        """Tell whether the object must be applied, judging by what has been verified of it."""
        return not is_in_sync(self.object(name, key_of(desired)), desired)

    # -- what no watch tells of --------------------------------------------------------------------------------------

    def is_compared(self, name: str) -> bool:
        """Tell whether what is not watched has been listed since the start or the last `invalidate`."""
        return name in self._compared

    def mark_compared(self, name: str) -> None:
        """Remember that what is not watched has been listed."""
        self._compared.add(name)

    def invalidate(self, name: str) -> None:
        """Ask for a full comparison at the next pass: kinds that are not watched may have drifted unseen."""
        self._compared.discard(name)

    def invalidate_all(self) -> None:
        """Ask for a full comparison of every instance: somebody else may have been working."""
        self._compared.clear()
