"""What is published: the ConfigMaps as they are in the cluster, and how they have to be; pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from customer_operator import naming
from customer_operator.naming import Manifest
from mqtt_router.routes import CONFIG_MAPS, DATA_KEY, PUBLISHED_AT_ANNOTATION, config_map

_SHARDS: Final[Mapping[str, int]] = {name: number for number, name in enumerate(CONFIG_MAPS)}


@dataclass(frozen=True, slots=True)
class LiveShard:
    """A ConfigMap as last seen. `text` is None when anything beside it is not as it should be."""

    uid: str
    version: int
    text: str | None
    lines: frozenset[str]


@dataclass(frozen=True, slots=True)
class News:
    """A shard that has changed, and the lines that it did not have before."""

    shard: int
    appeared: frozenset[str]


def read(live: Mapping[str, Any]) -> LiveShard:
    """Return what is to be known of a live ConfigMap."""
    metadata, data = live["metadata"], live.get("data") or {}
    text = data.get(DATA_KEY, "")
    proper = (
        data.keys() == {DATA_KEY}
        and not live.get("binaryData")
        and naming.route_labels().items() <= (metadata.get("labels") or {}).items()
        and PUBLISHED_AT_ANNOTATION in (metadata.get("annotations") or {})
    )
    return LiveShard(
        uid=metadata["uid"],
        version=int(metadata["resourceVersion"]),
        text=text if proper else None,
        lines=frozenset(text.split("\n")),
    )


def manifest(shard: int, text: str, *, namespace: str, now: datetime, version: int | None = None) -> Manifest:
    """Return the ConfigMap of a shard; with a version it may only replace the one of that version."""
    metadata: Manifest = {
        "name": config_map(shard),
        "namespace": namespace,
        "labels": naming.route_labels(),
        "annotations": {PUBLISHED_AT_ANNOTATION: now.isoformat(timespec="microseconds").replace("+00:00", "Z")},
    }
    if version is not None:
        metadata["resourceVersion"] = str(version)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {DATA_KEY: text}}


class PublishedShards:
    """The ConfigMaps by their shard. Nothing older replaces what is known, whether a watch or an answer brings it."""

    def __init__(self) -> None:
        """Start empty."""
        self._live: dict[int, LiveShard] = {}

    def get(self, shard: int) -> LiveShard | None:
        """Return a shard; None when its ConfigMap is not known to exist."""
        return self._live.get(shard)

    def upsert(self, live: Mapping[str, Any]) -> News | None:
        """Take in a ConfigMap as it is now; None when that is no news, or it is none of ours."""
        shard = _SHARDS.get(live["metadata"]["name"])
        if shard is None:
            return None
        known, seen = self._live.get(shard), read(live)
        if known is not None and known.version >= seen.version:
            return None
        self._live[shard] = seen
        return News(shard, seen.lines - known.lines if known else seen.lines)

    def delete(self, live: Mapping[str, Any]) -> int | None:
        """Take in that a ConfigMap is gone, or has lost its label; return its shard, None when that is no news."""
        shard = _SHARDS.get(live["metadata"]["name"])
        known = self._live.get(shard) if shard is not None else None
        if shard is None or known is None or known.uid != live["metadata"]["uid"]:
            return None
        if known.version > int(live["metadata"]["resourceVersion"]):
            return None
        del self._live[shard]
        return shard

    def prune(self, *, uids: Collection[str], version: int) -> list[int]:
        """Drop what a list of this version did not hold; return the shards."""
        ghosts = [shard for shard, known in self._live.items() if known.uid not in uids and known.version <= version]
        for shard in ghosts:
            del self._live[shard]
        return ghosts

    def forget(self, shard: int) -> None:
        """Take in that a ConfigMap does not exist."""
        self._live.pop(shard, None)
