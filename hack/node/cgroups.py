"""The node's control group, below which its pods are: one folder in every hierarchy, or the one of cgroup v2."""

import time
from contextlib import suppress
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
# Of cgroup v2; the pods' own limits need them.
CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")
# Seconds; a killed process leaves its group a moment after its end.
PATIENCE = 10.0


def hierarchies(mount: Path = MOUNT) -> list[Path]:
    """Return the root folder of every hierarchy; none when the machine has no control groups."""
    if (mount / "cgroup.controllers").exists():
        return [mount]
    return sorted(entry for entry in mount.glob("*") if (entry / "cgroup.procs").exists() and not entry.is_symlink())


def create(name: str) -> None:
    """Create the group `name`, such as `/node-dev`, and let it have groups below that can limit everything."""
    for root in hierarchies():
        group = root / name.lstrip("/")
        if root == MOUNT:
            _delegate(root)
        group.mkdir(exist_ok=True)
        if root == MOUNT:
            _delegate(group)
        # A new group of cgroup v1 may use no processor and no memory before it is told which.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if root != MOUNT and (root / file).exists():
                (group / file).write_text((root / file).read_text(encoding="ascii"), encoding="ascii")


def remove(name: str) -> None:
    """Remove the group `name` and all below it, of which no process may run any more; raises OSError if one does."""
    deadline = time.monotonic() + PATIENCE
    for root in hierarchies():
        group = root / name.lstrip("/")
        while group.exists():
            try:
                _remove_tree(group)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def _remove_tree(group: Path) -> None:
    # Their files cannot be removed, and go with the folder.
    for entry in group.iterdir():
        if entry.is_dir():
            _remove_tree(entry)
    with suppress(FileNotFoundError):
        group.rmdir()


def _delegate(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text(encoding="ascii").split()
    wanted = " ".join(f"+{name}" for name in CONTROLLERS if name in available)
    (group / "cgroup.subtree_control").write_text(wanted, encoding="ascii")
