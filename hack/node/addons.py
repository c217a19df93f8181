"""What runs on the node beside the customers' pods: name resolution, volumes, and the way in."""

from collections.abc import Callable
from pathlib import Path

from hack.cluster import LocalCluster
from hack.node.addresses import NODE_NAME

MANIFESTS = Path(__file__).with_name("manifests")
NAMESPACES = ("kube-system", "local-path-storage", "ingress")
PATIENCE = "--timeout=180s"


def install_addons(cluster: LocalCluster, *, report: Callable[[str], None]) -> None:
    """Install them, and wait until node and add-ons are ready; raises ClusterError."""
    cluster.kubectl("apply", "--server-side", "--filename", str(MANIFESTS))
    report("waiting for the node")
    cluster.kubectl("wait", "--for=create", f"node/{NODE_NAME}", PATIENCE)
    cluster.kubectl("wait", "--for=condition=Ready", f"node/{NODE_NAME}", PATIENCE)
    report("waiting for name resolution, volumes and Ingress controller")
    for namespace in NAMESPACES:
        cluster.kubectl("rollout", "status", "deployment", "--namespace", namespace, PATIENCE)
