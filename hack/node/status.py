"""How a node is doing: its control plane, its daemons, itself, and the pods on it."""

import json
from dataclasses import dataclass

from hack.cluster.launch import is_schedulable
from hack.cluster.status import ComponentStatus, format_table
from hack.node.addresses import NODE_NAME
from hack.node.cluster import NodeCluster
from hack.processes import find_programs

DAEMONS = ("containerd", "kubelet", "kube-proxy")


@dataclass(frozen=True)
class NodeStatus:
    """Everything `make node-status` shows."""

    components: list[ComponentStatus]
    ready: bool
    pods: str

    @property
    def healthy(self) -> bool:
        """Tell whether node and components are all right; of pods their owners know."""
        return self.ready and all(component.healthy for component in self.components)

    def __str__(self) -> str:
        node = f"node {NODE_NAME!r} is {'Ready' if self.ready else 'NOT READY'}"
        return f"{format_table(self.components)}\n\n{node}\n\n{self.pods}"


def node_status(cluster: NodeCluster) -> NodeStatus:
    """Return the status of a node that runs; raises HackError when it does not, or its API server does not answer."""
    running = find_programs(cluster.files.programs)
    daemons = [
        ComponentStatus(
            name=name, pid=running[name].pid if name in running else None, endpoint="-", healthy=name in running
        )
        for name in DAEMONS
    ]
    node = json.loads(cluster.kubectl("get", "node", NODE_NAME, "--output=json"))
    return NodeStatus(
        components=[*cluster.control_plane.status(), *daemons],
        ready=is_schedulable(node),
        pods=cluster.kubectl("get", "pods", "--all-namespaces", "--output=wide").rstrip(),
    )
