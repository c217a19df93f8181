"""The tables of the demo: what a container uses beside what it may, and the time by stage."""

from typing import Any

import pytest

from hack.demo.amounts import Container, Measured, containers, table
from hack.demo.instance import Snapshot
from hack.demo.node_walkthrough import stage_table
from hack.demo.text import columns
from hack.node import Usage

MEBI = 1 << 20
DAY = "2026-01-01"


def usage(at: float, **values: Any) -> Usage:
    return Usage(at=at, **{"memory": 0, "peak": 0, "cpu": 0.0, "throttled": 0.0, **values})


def measured(name: str) -> Measured:
    """10 s at rest, with a hundredth of a core; 5 s at work, with a fifth."""
    return Measured(
        container=Container(name=name, id="1", memory=64.0 * MEBI, memory_limit=128.0 * MEBI, cpu=0.05, cpu_limit=0.1),
        before=usage(100, cpu=2.0),
        idle=usage(110, cpu=2.1),
        busy=usage(115, cpu=3.1, memory=40 * MEBI, peak=50 * MEBI, throttled=0.25),
    )


def test_a_row_has_what_is_used_beside_what_may_be() -> None:
    head, row, together = table([measured("api")])

    assert row.split() == ["api", "40", "50", "64", "128", "10", "200", "50", "100", "3.1", "0.2"]
    assert len(head) == len(row) == len(together)


def test_what_is_used_together_has_no_peak() -> None:
    *_, together = table([measured("api"), measured("dashboard")])

    assert together.split() == ["together", "80", "128", "256", "20", "400", "100", "200", "6.2", "0.5"]


def pod(**status: str) -> dict[str, Any]:
    resources = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    return {
        "spec": {"containers": [{"name": "api", "resources": resources}]},
        "status": {"containerStatuses": [{"name": "api", **status}]},
    }


def test_a_container_is_read_as_the_api_server_shows_it() -> None:
    (found,) = containers([pod(containerID="containerd://4f2a")])

    assert found == Container(
        name="api", id="4f2a", memory=64.0 * MEBI, memory_limit=1024.0 * MEBI, cpu=0.05, cpu_limit=1.0
    )


def test_a_container_that_does_not_run_yet_is_no_container() -> None:
    with pytest.raises(LookupError):
        list(containers([pod()]))


def test_stages_are_counted_from_the_first() -> None:
    stages = [
        {
            "name": "namespace",
            "state": "Done",
            "startedAt": "2026-01-01T00:00:58Z",
            "finishedAt": "2026-01-01T00:00:59Z",
        },
        {"name": "postgres", "state": "Active", "startedAt": "2026-01-01T00:01:10Z"},
        {"name": "api", "state": "Pending"},
    ]

    _, *rows = stage_table(Snapshot.parse({"status": {"phase": "Provisioning", "stages": stages}}))

    assert [row.split() for row in rows] == [["namespace", "0", "s", "1", "s"], ["postgres", "12", "s"], ["api"]]


def test_amounts_are_below_one_another() -> None:
    assert columns([("", "request"), ("api", "5"), ("dashboard", "100")]) == [
        "           request",
        "api              5",
        "dashboard      100",
    ]
