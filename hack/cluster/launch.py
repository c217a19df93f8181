"""The start of a cluster: kwokctl creates it, then come storage class and nodes."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from hack.cluster.client import APPLY, Client, Object
from hack.cluster.configuration import Settings, build_configuration
from hack.cluster.files import ClusterFiles
from hack.cluster.kwokctl import ESSENTIAL, dead_components, run_kwokctl, start_missing, wait_healthy, wait_until
from hack.cluster.stages import render_stages
from hack.errors import Unreachable
from hack.files import write_private

STORAGE_CLASS = Path(__file__).with_name("storage-class.yaml")
# A node takes 110 pods by default; more on each spares nodes, whose heartbeats are what simulating them costs.
PODS_PER_NODE = 250

Report = Callable[[str], None]


def launch(
    files: ClusterFiles,
    *,
    settings: Settings,
    programs: Mapping[str, Path],
    ports: Sequence[int],
    report: Report,
) -> None:
    """Start every component and wait until all are healthy and pods can be scheduled.

    Raises ClusterError with the end of its log when a component ends or is not ready in time, DamagedDataError when
    that may be the fault of what is left of an earlier cluster.
    """
    files.begin(programs)
    configuration = build_configuration(files.directory, programs=programs, ports=ports, settings=settings)
    write_private(files.configuration, json.dumps(configuration, indent=2))
    write_private(files.stages, render_stages(start_delay=settings.start_delay))
    components = tuple(files.endpoints())
    report(f"starting {', '.join(components)}")
    told = (f"--config={files.configuration}", f"--config={files.stages}")
    run_kwokctl(files, *told, "create", "cluster", "--kubeconfig=")  # not into the user's own kubeconfig
    with Client(files.kubeconfig) as api:
        wait_healthy(files, api, ESSENTIAL)
        if dead_components(files):  # on a busy machine a controller gives up before the API server is ready
            start_missing(files)
        wait_healthy(files, api, components)
        if not settings.node_address:
            _add_storage_class(api)
    add_nodes(files, 0 if settings.node_address else settings.nodes, report=report)


def add_nodes(files: ClusterFiles, count: int, *, report: Report) -> None:
    """Have at least `count` nodes, and wait until pods can be created and placed."""
    with Client(files.kubeconfig) as api:
        if len(api.collection("/api/v1/nodes")) < count:
            report(f"waiting for {count} nodes")
            pods = f"--param=.allocatable.pods={PODS_PER_NODE}"
            run_kwokctl(files, "scale", "node", f"--replicas={count}", pods)
        wait_until(lambda: _is_usable(api), files=files, purpose="schedulable nodes")


def _add_storage_class(api: Client) -> None:
    storage_class = yaml.safe_load(STORAGE_CLASS.read_text(encoding="utf-8"))
    path = f"/apis/storage.k8s.io/v1/storageclasses/{storage_class['metadata']['name']}"
    api.send("PATCH", path, body=storage_class, media_type=APPLY, params={"fieldManager": "local-cluster"})


def is_schedulable(node: Object) -> bool:
    """Tell whether pods may be placed on `node`: it is Ready and the taints of a new node are gone."""
    conditions = {entry["type"]: entry["status"] for entry in node.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and not node["spec"].get("taints")


def _is_usable(api: Client) -> bool:
    """Tell whether every node takes pods, and the first ServiceAccount exists."""
    try:
        accounts = api.collection("/api/v1/namespaces/default/serviceaccounts")
        return bool(accounts) and all(map(is_schedulable, api.collection("/api/v1/nodes")))
    except Unreachable:
        return False
