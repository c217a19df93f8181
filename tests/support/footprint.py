"""What a machine shows of itself: processes, mounts, control groups, network, kernel settings, well-known folders."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from hack.node.cgroups import hierarchies
from hack.node.files import NodeFiles
from hack.node.machine import KERNEL_SETTINGS

# Where the programs of a node keep their files on a machine that is a node and nothing else.
_FOLDERS = ("/run", "/run/netns", "/var/lib", "/var/lib/cni", "/var/log", "/opt", "/opt/cni", "/etc", "/etc/cni")
_NETWORK_SETTINGS = ("net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet", "net/netfilter/nf_conntrack_max")


@dataclass(frozen=True)
class Footprint:
    """The state of a machine at one moment; every field is a set of lines that can be compared with those of another.

    Of processes only those count that have to do with the node, by what they were started as or by their control group,
    and no control group of another node: others come and go.
    """

    processes: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    links: frozenset[str]
    rules: frozenset[str]
    settings: frozenset[str]
    files: frozenset[str]

    @classmethod
    def take(cls, node: NodeFiles) -> Self:
        """Look at the machine, on which there may be this node."""
        return cls(
            processes=frozenset(_processes(node)),
            mounts=frozenset(Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()),
            cgroups=frozenset(str(group) for root in hierarchies() for group in _groups(root, node)),
            links=frozenset(_output("ip", "-brief", "address", "show")),
            rules=frozenset(_output("iptables-save")),
            settings=frozenset(_settings()),
            files=frozenset(f"{folder}/{name}" for folder in _FOLDERS for name in _names(Path(folder))),
        )

    def left_since(self, before: Self) -> dict[str, list[str]]:
        """Return by field what is there now and was not before."""
        added = {field.name: sorted(getattr(self, field.name) - getattr(before, field.name)) for field in fields(self)}
        return {name: lines for name, lines in added.items() if lines}


def _processes(node: NodeFiles) -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            groups = (entry / "cgroup").read_text(encoding="ascii")
            if node.cgroup in groups or str(node.directory) in command or f"hack.node.keeper {node.base}" in command:
                yield f"{entry.name} {command}"


def _groups(root: Path, node: NodeFiles) -> Iterator[Path]:
    """Yield every control group but those of other nodes, which somebody else may be starting and ending."""
    for folder, subfolders, _ in os.walk(root):
        if Path(folder) == root:
            own = node.cgroup.lstrip("/")
            subfolders[:] = [name for name in subfolders if name == own or not name.startswith("node-")]
        yield from (Path(folder) / name for name in subfolders)


def _settings() -> Iterator[str]:
    for name in (*KERNEL_SETTINGS, *_NETWORK_SETTINGS):
        with suppress(FileNotFoundError):
            yield f"{name}={(Path('/proc/sys') / name).read_text(encoding='ascii').strip()}"


def _output(*command: str) -> list[str]:
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in said if not line.startswith("#")]


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.is_dir() else []
