"""A real node on this machine, and its control plane, in namespaces of their own."""

from hack.node.cluster import DEFAULT_NAME, NodeCluster, ensure_programs
from hack.node.requirements import missing_requirements
from hack.node.usage import Usage, read_usage

__all__ = ["DEFAULT_NAME", "NodeCluster", "Usage", "ensure_programs", "missing_requirements", "read_usage"]
