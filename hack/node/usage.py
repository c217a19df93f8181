"""What a container really uses: memory and processor time, as its control group counts them."""

import time
from dataclasses import dataclass
from pathlib import Path

from hack.errors import NodeError
from hack.node.cgroups import MOUNT


@dataclass(frozen=True, kw_only=True)
class Usage:
    """One container at one moment.

    Attributes:
        at: the moment, in seconds of the monotonic clock.
        memory: bytes, as the kubelet counts them: without files that are in memory only because nobody else wants it.
        peak: the most bytes there ever were, such files included; 0 where the kernel does not keep it.
        cpu: seconds of processor time since its start.
        throttled: seconds for which it could have run and was held back by its limit.
    """

    at: float
    memory: int
    peak: int
    cpu: float
    throttled: float


def read_usage(group: str, container: str, *, mount: Path = MOUNT) -> Usage:
    """Return what a container uses now, by its id; `group` is that of its node, such as `/node-dev`.

    Raises NodeError when it does not run there.
    """
    unified = (mount / "cgroup.controllers").exists()
    read = _unified if unified else _separate
    try:
        return read(mount, group.lstrip("/"), container)
    except FileNotFoundError as error:
        raise NodeError(f"container {container} has no control group below {group}") from error


def _unified(mount: Path, group: str, container: str) -> Usage:
    folder = _folder(mount / group, container)
    memory, cpu = _table(folder / "memory.stat"), _table(folder / "cpu.stat")
    peak = folder / "memory.peak"  # since Linux 5.19
    return Usage(
        at=time.monotonic(),
        memory=max(0, _number(folder / "memory.current") - memory["inactive_file"]),
        peak=_number(peak) if peak.exists() else 0,
        cpu=cpu["usage_usec"] / 1e6,
        throttled=cpu.get("throttled_usec", 0) / 1e6,
    )


def _separate(mount: Path, group: str, container: str) -> Usage:
    """Of cgroup v1, where each controller has a hierarchy of its own."""
    memory, cpu, accounts = (
        _folder(mount / controller / group, container) for controller in ("memory", "cpu", "cpuacct")
    )
    inactive = _table(memory / "memory.stat")["total_inactive_file"]
    return Usage(
        at=time.monotonic(),
        memory=max(0, _number(memory / "memory.usage_in_bytes") - inactive),
        peak=_number(memory / "memory.max_usage_in_bytes"),
        cpu=_number(accounts / "cpuacct.usage") / 1e9,
        throttled=_table(cpu / "cpu.stat")["throttled_time"] / 1e9,
    )


def _folder(root: Path, container: str) -> Path:
    """Find it by its id, around which systemd's names have more; how deep it is depends on its pod's class."""
    for folder in root.rglob(f"*{container}*"):
        return folder
    raise FileNotFoundError(container)


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _table(file: Path) -> dict[str, int]:
    lines = (line.split() for line in file.read_text(encoding="ascii").splitlines())
    return {name: int(value) for name, value in lines}
