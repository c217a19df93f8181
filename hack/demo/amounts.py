"""What each container of a stack uses beside what it may, as a table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from customer_operator.model import quantity
from hack.demo.text import columns
from hack.node import Usage

_MEBI = 1 << 20
_HEAD = ("", "memory", "peak", "request", "limit", "CPU idle", "publishing", "request", "limit", "in all", "held back")
_PEAK = _HEAD.index("peak")

Pod = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container that runs, with its id, and its requests and limits: memory in bytes, CPU in cores."""

    name: str
    id: str
    memory: float
    memory_limit: float
    cpu: float
    cpu_limit: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One container at three moments: before and after a while without work, and after one with a device at work."""

    container: Container
    before: Usage
    idle: Usage
    busy: Usage


def containers(pods: Sequence[Pod]) -> Iterator[Container]:
    """Yield the containers of pods as the API server shows them; raises LookupError when one does not run."""
    for pod in pods:
        ids = {status["name"]: status["containerID"] for status in pod["status"]["containerStatuses"]}
        for container in pod["spec"]["containers"]:
            requests, limits = (container["resources"][name] for name in ("requests", "limits"))
            yield Container(
                name=container["name"],
                id=ids[container["name"]].rpartition("/")[2],
                memory=float(quantity.parse(requests["memory"])),
                memory_limit=float(quantity.parse(limits["memory"])),
                cpu=float(quantity.parse(requests["cpu"])),
                cpu_limit=float(quantity.parse(limits["cpu"])),
            )


def table(measured: Sequence[Measured]) -> list[str]:
    """Return a line for each container: memory in MiB, CPU in thousandths of a core, the last two in seconds."""
    rows = [_amounts(one) for one in measured]
    names = (one.container.name for one in measured)
    cells = [[name, *_cells(amounts)] for name, amounts in zip(names, rows, strict=True)]
    sums = ["together", *_cells([sum(column) for column in zip(*rows, strict=True)])]
    sums[_PEAK] = ""  # they were at different times
    return columns([_HEAD, *cells, sums])


def _amounts(one: Measured) -> tuple[float, ...]:
    """Return what is in a row: bytes, cores, seconds."""
    return (
        one.busy.memory,
        one.busy.peak,
        one.container.memory,
        one.container.memory_limit,
        _rate(one.before, one.idle),
        _rate(one.idle, one.busy),
        one.container.cpu,
        one.container.cpu_limit,
        one.busy.cpu,
        one.busy.throttled,
    )


def _cells(amounts: Sequence[float]) -> list[str]:
    memory, cpu, seconds = amounts[:4], amounts[4:8], amounts[8:]
    return [
        *(f"{amount / _MEBI:.0f}" for amount in memory),
        *(f"{amount * 1000:.0f}" for amount in cpu),
        *(f"{amount:.1f}" for amount in seconds),
    ]


def _rate(earlier: Usage, later: Usage) -> float:
    """Cores used between two moments."""
    return (later.cpu - earlier.cpu) / (later.at - earlier.at)
