"""A real node on this machine, and its control plane, in namespaces of their own."""

from hack.node.cluster import DEFAULT_NAME, NodeCluster
from hack.node.requirements import missing_requirements

__all__ = ["DEFAULT_NAME", "NodeCluster", "missing_requirements"]
