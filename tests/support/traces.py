"""What a customer's stack has left its mark on: volumes of the cluster, folders and control groups of the node."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hack.node import NodeCluster
from hack.node.cgroups import hierarchies
from tests.support.platform import Customer

# Where local-path-provisioner keeps volumes; their folders are called <volume>_<namespace>_<claim>.
_VOLUMES = Path("/var/lib")
_PROVISIONER = "local-path"


@dataclass(frozen=True)
class Traces:
    """The names of persistent volumes, folders of volumes, and control groups of pods."""

    volumes: frozenset[str]
    folders: frozenset[Path]
    groups: frozenset[Path]

    @classmethod
    def of(cls, customer: Customer, node: NodeCluster) -> Self:
        """Look at what there is of a customer."""
        return cls(
            volumes=frozenset(_volumes(customer)),
            folders=frozenset((node.files.shadow(_VOLUMES) / _PROVISIONER).glob(f"*_{customer.namespace}_*")),
            groups=frozenset(_groups(customer, node)),
        )

    def left(self, customer: Customer) -> list[str]:
        """Return those that are still there."""
        volumes = self.volumes & set(_volumes(customer))
        return [*volumes, *(str(path) for path in (*self.folders, *self.groups) if path.exists())]


def _volumes(customer: Customer) -> Iterator[str]:
    for item in json.loads(customer.cluster.kubectl("get", "persistentvolumes", "--output=json"))["items"]:
        if item["spec"]["claimRef"]["namespace"] == customer.namespace:
            yield item["metadata"]["name"]


def _groups(customer: Customer, node: NodeCluster) -> Iterator[Path]:
    uids = {pod["metadata"]["uid"] for pod in customer.pods()}
    for root in hierarchies():
        for folder, subfolders, _ in os.walk(root / node.files.cgroup.lstrip("/")):
            yield from (Path(folder) / name for name in subfolders if name.removeprefix("pod") in uids)
