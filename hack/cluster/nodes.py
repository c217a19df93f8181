"""The simulated nodes and the default storage class, as the cluster gets them on its first start."""

from typing import Any

PROVISIONER = "kwok.x-k8s.io/volume"
STORAGE_CLASS = "standard"

# A common size of cloud machine with room for far more pods than the default of 110: tests pack many tenants
# onto few nodes.
NODE_CAPACITY = {"cpu": "32", "memory": "128Gi", "ephemeral-storage": "1Ti", "pods": "250"}


def build_node(number: int) -> dict[str, Any]:
    """Return the simulated node `number` (from 1); the nodes alternate between two zones."""
    name = f"simulated-{number}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": "simulated",
                "topology.kubernetes.io/region": "local",
                "topology.kubernetes.io/zone": "local-a" if number % 2 else "local-b",
                "type": "kwok",
            },
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": f"10.10.{number // 256}.{number % 256}"},
                {"type": "Hostname", "address": name},
            ],
            "allocatable": dict(NODE_CAPACITY),
            "capacity": dict(NODE_CAPACITY),
        },
    }


def build_storage_class() -> dict[str, Any]:
    """Return the default storage class; kwok plays its provisioner, see stages.yaml."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": True,
    }


def is_schedulable(node: dict[str, Any]) -> bool:
    """Tell whether pods may be placed on `node`: it is Ready and the taints of a new node are gone."""
    conditions = {entry["type"]: entry["status"] for entry in node.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and not node["spec"].get("taints")
