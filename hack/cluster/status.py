"""How the components of a cluster are doing; kwokctl takes a frozen or dead one for ready."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import yaml

from hack.cluster.client import Client
from hack.cluster.configuration import COMPONENTS
from hack.cluster.files import ClusterFiles
from hack.cluster.kwokctl import is_healthy
from hack.processes import find_programs


@dataclass(frozen=True)
class ComponentStatus:
    """One line of the status table; `pid` is None when it does not run."""

    name: str
    pid: int | None
    endpoint: str
    healthy: bool


def component_statuses(files: ClusterFiles) -> list[ComponentStatus]:
    """Return the status of every component, asking all of them at the same time."""
    running, endpoints = find_programs(files.programs), files.endpoints()
    names = tuple(endpoints) or COMPONENTS
    healthy = _healthy(files, [name for name in names if name in running])
    return [
        ComponentStatus(
            name=name,
            pid=running[name].pid if name in running else None,
            endpoint=endpoints.get(name, "-"),
            healthy=name in healthy,
        )
        for name in names
    ]


def format_table(statuses: Sequence[ComponentStatus]) -> str:
    """Return the statuses as a table for people."""
    rows = [("COMPONENT", "PID", "ENDPOINT", "HEALTHY")]
    rows += [(one.name, str(one.pid or "-"), one.endpoint, "yes" if one.healthy else "NO") for one in statuses]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _healthy(files: ClusterFiles, names: Sequence[str]) -> set[str]:
    try:
        client = Client(files.kubeconfig)
    except (OSError, LookupError, TypeError, yaml.YAMLError):  # there is no cluster, or a power cut has damaged it
        return set()
    with client as api, ThreadPoolExecutor(max_workers=len(COMPONENTS)) as pool:
        answers = pool.map(lambda name: is_healthy(files, api, name), names)
        return {name for name, healthy in zip(names, answers, strict=True) if healthy}
