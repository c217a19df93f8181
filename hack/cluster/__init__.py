"""A real Kubernetes control plane on one machine: etcd, API server, controllers and scheduler, simulated nodes."""

from hack.cluster.components import PROGRAMS
from hack.cluster.launch import Settings
from hack.cluster.local import DEFAULT_NAME, LocalCluster

__all__ = ["DEFAULT_NAME", "PROGRAMS", "LocalCluster", "Settings"]
