"""A real Kubernetes control plane on one machine: etcd, API server, controllers and scheduler, simulated nodes."""

from hack.cluster.client import Client
from hack.cluster.configuration import PROGRAMS, Settings
from hack.cluster.local import DEFAULT_NAME, LocalCluster

__all__ = ["DEFAULT_NAME", "PROGRAMS", "Client", "LocalCluster", "Settings"]
