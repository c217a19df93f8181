"""What a machine must have to run a node, beside what can be fetched or built."""

import os
import shutil
from pathlib import Path

from hack.node.cgroups import hierarchies
from hack.node.files import SHADOWED
from hack.paths import PROJECT_ROOT, cache_root
from hack.privileges import namespaces_refused

# Command and Debian package; gcc makes the smallest of all images, and runc where it has to be built.
COMMANDS = {
    "busybox": "busybox-static",
    "gcc": "gcc",
    "ip": "iproute2",
    "iptables": "iptables",
    "mount": "mount",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
FILESYSTEM = "overlay"


def missing_requirements() -> str:
    """Return, in one line, why this machine cannot run a node; "" when it can."""
    if os.geteuid() != 0:
        return "a real node needs root: it makes namespaces and control groups"
    if missing := sorted({package for command, package in COMMANDS.items() if not shutil.which(command)}):
        return f"a real node needs the packages {', '.join(missing)}: make system-packages"
    if FILESYSTEM not in Path("/proc/filesystems").read_text(encoding="ascii").split():
        return f"a real node needs the filesystem {FILESYSTEM}, which this machine's kernel does not offer"
    if not (groups := hierarchies()):
        return "a real node needs control groups below /sys/fs/cgroup"
    if hidden := [place for place in (PROJECT_ROOT, cache_root()) if any(map(place.is_relative_to, SHADOWED))]:
        return f"a real node has {' and '.join(map(str, SHADOWED))} of its own, and would not find {hidden[0]}"
    if not all(os.access(root, os.W_OK) for root in groups):
        return "a real node needs control groups that can be written below /sys/fs/cgroup"
    if refusal := namespaces_refused():
        return f"a real node needs namespaces and mounts of its own, which this machine refuses: {refusal}"
    return ""
