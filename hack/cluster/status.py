"""How the components of a cluster are doing."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from hack.cluster.api import is_healthy
from hack.cluster.components import PROGRAMS
from hack.cluster.files import ClusterFiles
from hack.supervisor.state import ComponentState, SupervisorState, read_state


@dataclass(frozen=True)
class ComponentStatus:
    """One line of the status table; `pid` is None and `uptime` (seconds) 0.0 when it does not run."""

    name: str
    pid: int | None
    uptime: float
    endpoint: str
    healthy: bool


def component_statuses(files: ClusterFiles) -> list[ComponentStatus]:
    """Return the status of every component, asking all of them at the same time."""
    state = read_state(files.state)
    with ThreadPoolExecutor(max_workers=len(PROGRAMS)) as pool:
        return list(pool.map(lambda name: _status(files, name, state), PROGRAMS))


def format_table(statuses: Sequence[ComponentStatus]) -> str:
    """Return the statuses as a table for people."""
    rows = [("COMPONENT", "PID", "UP", "ENDPOINT", "HEALTHY")]
    for status in statuses:
        pid = str(status.pid) if status.pid else "-"
        rows.append(
            (status.name, pid, format_duration(status.uptime), status.endpoint, "yes" if status.healthy else "NO")
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units: `42s`, `3m05s`, `2h07m`, `4d03h`; `-` for zero."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    if minutes:
        return f"{minutes}m{rest:02}s"
    return f"{rest}s" if seconds else "-"


def _status(files: ClusterFiles, name: str, state: SupervisorState | None) -> ComponentStatus:
    component = state.components.get(name) if state else None
    if component is None or component.process is None or not component.alive:
        return ComponentStatus(name=name, pid=None, uptime=0.0, endpoint=_endpoint(component), healthy=False)
    return ComponentStatus(
        name=name,
        pid=component.process.pid,
        uptime=component.process.uptime(),
        endpoint=component.endpoint,
        healthy=is_healthy(name, endpoint=component.endpoint, health_path=component.health_path, pki=files.pki),
    )


def _endpoint(component: ComponentState | None) -> str:
    return component.endpoint if component else "-"
